//! The in-process store, compared with its engine, `moka`, and a map behind a mutex.
//!
//! All contenders have the same hasher, keys of 19 bytes and values of 100 bytes, and each set has
//! a new buffer, as from an encoder. `quick_cache` and the map have no expiry, and the map has no
//! bound, so they are not in every case.

mod hits;
mod longest;
mod speed;
mod stores;
mod weight;

use anyhow::Result;

pub use self::weight::{WEIGH, weigh};
use crate::harness::Bench;

/// The name of the suite on the command line.
pub const NAME: &str = "memory";

/// Measures throughput, pauses, weight and hits.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    speed::run(bench)?;
    longest::run(bench)?;
    weight::run(bench)?;
    hits::run(bench)
}
