//! The cost of the caches, compared with the libraries that they use and with alternatives.
//!
//! `cargo xtask bench` runs the suites. A suite is a file under `suites`. The harness measures
//! contenders in turn, round by round, so that other load of the machine affects all of them.
#![expect(clippy::missing_errors_doc, reason = "a bench prints any error and ends")]
#![expect(
    clippy::cast_precision_loss,
    reason = "three digits of a measurement count, and a float has fifteen"
)]

pub mod harness;
pub mod peers;
pub mod published;
pub mod random;
pub mod suites;
