//! Calls of an expired value while one slow load runs in the background.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use cache_core::{Cache, FetchSettings};
use cache_memory::Memory;
use tokio::{runtime::Builder, time::sleep};

use super::super::rounds::{Rounds, percentiles};
use crate::harness::{Bench, Case, Unit};

const LOAD: Duration = Duration::from_millis(100);
/// How long calls are measured: the load still runs at the end.
const MEASURED: Duration = Duration::from_millis(80);
const LIFETIME: Duration = Duration::from_secs(3600);
/// The lifetime of a value that has expired when it is read.
const SHORT: Duration = Duration::from_millis(1);
const NAMES: [&str; 2] = ["stale_p50", "stale_p99"];
const KEY: &str = "key";
const VALUE_BYTES: usize = 100;

/// Compares stale values with fresh ones, and with `moka`, whose callers wait for the load.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !NAMES.iter().any(|it| bench.wants(it)) {
        return Ok(());
    }
    // With its own threads, because the calls of a stale value never yield to the load.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let case = |it| Case::new(it, Unit::Nanos, VALUE_BYTES).on_runtime("multi_thread", 1);
    let names = vec!["cache-core", "fetch_fresh", "moka"];
    let mut rounds = Rounds::new(names, NAMES.map(case).to_vec());
    for _ in 0..bench.effort().rounds {
        let [stale, fresh] = [SHORT, LIFETIME].map(|it| runtime.block_on(fetch(it)));
        let times = [stale?, fresh?, runtime.block_on(get_with())?];
        for (place, times) in times.into_iter().enumerate() {
            rounds.add(place, percentiles(times, [50, 99]));
        }
    }
    rounds.tell(bench)
}

/// Fetches a value that was stored with this lifetime.
async fn fetch(lifetime: Duration) -> Result<Vec<Duration>> {
    let settings = FetchSettings::with_grace(LIFETIME);
    let cache = Cache::builder(Memory::new()).fetch(settings).build("bench")?;
    let old = "x".repeat(VALUE_BYTES);
    cache.fetch(KEY).ttl(lifetime).jitter(0.0).prime(&old).await?;
    // sleeps: the stores have no clock to hold in common with `moka`
    sleep(2 * SHORT).await;
    let times = measure(async || {
        let load = |_| async { Ok::<_, Infallible>(load().await) };
        let found = cache.fetch(KEY).ttl(LIFETIME).load(load).await?;
        ensure!(found == old, "the load has ended");
        Ok(())
    })
    .await?;
    let loads = u64::from(lifetime == SHORT);
    ensure!(cache.stats().refreshes == loads, "{} refreshes", cache.stats().refreshes);
    Ok(times)
}

async fn get_with() -> Result<Vec<Duration>> {
    let cache = moka::future::Cache::builder().time_to_live(SHORT).build();
    cache.insert(KEY, "x".repeat(VALUE_BYTES)).await;
    // sleeps: `moka` has no clock to hold
    sleep(2 * SHORT).await;
    measure(async || {
        cache.get_with(KEY, load()).await;
        Ok(())
    })
    .await
}

async fn load() -> String {
    // sleeps: it is the measured load
    sleep(LOAD).await;
    "y".repeat(VALUE_BYTES)
}

async fn measure(call: impl AsyncFn() -> Result<()>) -> Result<Vec<Duration>> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < MEASURED {
        let start = Instant::now();
        call().await?;
        times.push(start.elapsed());
    }
    Ok(times)
}
