//! Reading through: loads, waiting times and round trips, compared with other caches that load, and
//! with code by hand.
//!
//! `moka` is its `get_with`, `cached` the macro of this name and `cached_by_key` the macro with
//! `sync_writes`. `by_hand` is a `get`, the load and a `set` of this library. `cachet` is its
//! `get_or_insert` with `stampede_protection`.

#[cfg(target_os = "linux")]
mod batch;
mod cold;
mod contenders;
mod hit;
#[cfg(target_os = "linux")]
mod outage;
mod stale;

use anyhow::Result;

use crate::harness::Bench;

/// The name of the suite on the command line.
pub const NAME: &str = "load";

/// Measures cold callers, hits, stale values, batches and outages.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    cold::run(bench)?;
    hit::run(bench)?;
    stale::run(bench)?;
    #[cfg(target_os = "linux")]
    batch::run(bench)?;
    #[cfg(target_os = "linux")]
    outage::run(bench)?;
    Ok(())
}
