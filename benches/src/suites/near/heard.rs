//! How soon a process finds what another process has written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use cache_core::Cache;
use test_servers::Redis;
use tokio::{runtime::Builder, task::yield_now};

use super::{
    by_hand::ByHand,
    tier::{VALUE_BYTES, near},
};
use crate::{
    harness::{Bench, Case, Unit},
    suites::{
        network::{inputs::User, ours::LIFETIME},
        rounds::{Rounds, percentiles},
    },
};

const NAMES: [&str; 2] = ["heard_p50", "heard_p99"];
const KEY: &str = "heard";
const WRITES: u64 = 200;
const LIMIT: Duration = Duration::from_secs(10);

/// Measures the time from the acknowledgement of a write to the first read that finds it.
pub(super) fn run(bench: &mut Bench<'_>, server: &Redis) -> Result<()> {
    if !NAMES.iter().any(|it| bench.wants(it)) {
        return Ok(());
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let case = |it| Case::new(it, Unit::Nanos, VALUE_BYTES).on_runtime("multi_thread", 1);
    let mut rounds = Rounds::new(vec!["near", "moka"], NAMES.map(case).to_vec());
    runtime.block_on(async {
        let ours = [near(&server.url(), 1_000).await?, near(&server.url(), 1_000).await?];
        let by_hand = [
            Arc::new(ByHand::connect(&server.url(), 1_000).await?),
            Arc::new(ByHand::connect(&server.url(), 1_000).await?),
        ];
        for _ in 0..bench.effort().rounds {
            rounds.add(0, percentiles(by_near(&ours).await?, [50, 99]));
            rounds.add(1, percentiles(by_message(&by_hand).await?, [50, 99]));
        }
        anyhow::Ok(())
    })?;
    rounds.tell(bench)
}

async fn by_near([writer, reader]: &[Cache; 2]) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    writer.set(KEY, &User::numbered(0), LIFETIME).await?;
    for number in 1..=WRITES {
        reader.get::<User>(KEY).await?;
        writer.set(KEY, &User::numbered(number), LIFETIME).await?;
        let is_new = async || {
            let found = reader.get::<User>(KEY).await?;
            Ok(found.is_some_and(|it| it.is_numbered(number)))
        };
        times.push(until(is_new).await?);
    }
    let near = reader.stats().near;
    ensure!(
        near.is_some_and(|it| it.hits > 0 && !it.is_bypassed),
        "the tier is not used: {near:?}"
    );
    Ok(times)
}

async fn by_message([writer, reader]: &[Arc<ByHand>; 2]) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    writer.set(KEY, &User::numbered(0)).await?;
    for number in 1..=WRITES {
        reader.get(KEY).await?;
        writer.set(KEY, &User::numbered(number)).await?;
        let is_new = async || Ok(reader.get(KEY).await?.is_numbered(number));
        times.push(until(is_new).await?);
    }
    Ok(times)
}

/// Returns the time until the beginning of the first call that returns `true`.
async fn until(is_new: impl AsyncFn() -> Result<bool>) -> Result<Duration> {
    let acknowledged = Instant::now();
    loop {
        let waited = acknowledged.elapsed();
        if is_new().await? {
            return Ok(waited);
        }
        ensure!(waited < LIMIT, "the write is not heard of");
        yield_now().await;
    }
}
