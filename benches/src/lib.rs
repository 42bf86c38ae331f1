//! What the caches cost, measured beside what they are made of and what one would use instead.
//!
//! `cargo xtask bench` runs it. A suite is a file under `suites`; the harness measures contenders in turn, round by
//! round, so that whatever else the machine does falls on all of them.
#![expect(
    clippy::cast_precision_loss,
    reason = "three digits of a measurement count, and a float has fifteen"
)]

pub mod harness;
pub mod peers;
pub mod random;
pub mod suites;
