//! The in-process store beside its engine, `moka`, and a map behind a mutex.
//!
//! All of them have the same hasher, keys of 19 bytes and values of 100, and each value that is set has a buffer of its own, as
//! an encoder makes one. `quick_cache` and the map know no expiry, and the map no bound, so they are not in every case.

mod hits;
mod longest;
mod speed;
mod stores;
mod weight;

use anyhow::Result;

pub use self::weight::{WEIGH, weigh};
use crate::harness::Bench;

/// By which it is asked for.
pub const NAME: &str = "memory";

/// Measures throughput, pauses, weight and hits.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    speed::run(bench)?;
    longest::run(bench)?;
    weight::run(bench)?;
    hits::run(bench)
}
