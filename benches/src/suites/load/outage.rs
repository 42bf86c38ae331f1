//! How long callers wait while the server is killed or frozen. The loader answers at once, so the
//! waiting time is the cost of the outage.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use cache_core::{Cache, Caches};
use cache_redis as _;
use redis::{Client, aio::MultiplexedConnection, cmd};
use test_servers::{Redis, Server as _};
use tokio::{runtime::Builder, task::JoinSet, time::sleep};

use super::super::rounds::{Rounds, percentiles};
use crate::harness::{Bench, Case, Unit};

const FAULTS: [(Fault, [&str; 3]); 2] = [
    (Fault::Kill, ["killed_p50", "killed_p99", "killed_longest"]),
    (Fault::Freeze, ["frozen_p50", "frozen_p99", "frozen_longest"]),
];
const TASKS: usize = 16;
/// The pause of a task between two calls.
const PAUSE: Duration = Duration::from_millis(1);
const VALUE_BYTES: usize = 100;

#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
}

/// Compares `fetch` with the crate `redis` by hand, where a failed `GET` is a miss. Both have their
/// default deadlines. A killed server costs the crate nothing: its connection does not come back.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let lasts = Duration::from_secs(if bench.effort().quick { 2 } else { 5 });
    for (fault, cases) in FAULTS {
        if !cases.iter().any(|it| bench.wants(it)) {
            continue;
        }
        let case = |it| Case::new(it, Unit::Nanos, VALUE_BYTES).on_runtime("multi_thread", TASKS);
        let mut rounds = Rounds::new(vec!["cache-core", "redis"], cases.map(case).to_vec());
        for place in 0..2 {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let server = Redis::start()?;
            let side = runtime.block_on(Side::connect(place, &server.url()))?;
            match fault {
                Fault::Kill => server.kill(),
                Fault::Freeze => server.freeze(),
            }
            let times = runtime.block_on(call_for(lasts, side))?;
            rounds.add(place, percentiles(times, [50, 99, 100]));
        }
        rounds.tell(bench)?;
    }
    Ok(())
}

#[derive(Clone)]
enum Side {
    Ours(Cache),
    ByHand(MultiplexedConnection),
}

impl Side {
    async fn connect(place: usize, url: &str) -> Result<Arc<Self>> {
        let side = if place == 0 {
            let toml = format!("[caches.default]\nbackend = \"redis\"\nlocation = \"{url}\"\n");
            Self::Ours(Caches::from_toml(&toml)?.get("default")?.clone())
        } else {
            Self::ByHand(Client::open(url)?.get_multiplexed_async_connection().await?)
        };
        side.read_through("key").await?;
        Ok(Arc::new(side))
    }

    async fn read_through(&self, key: &str) -> Result<String> {
        match self {
            Self::Ours(cache) => {
                let load = |_| async { Ok::<_, Infallible>("x".repeat(VALUE_BYTES)) };
                Ok(cache.fetch(key).load(load).await?)
            }
            Self::ByHand(connection) => {
                let mut connection = connection.clone();
                let get = cmd("GET").arg(key).query_async::<Option<String>>(&mut connection).await;
                Ok(get.ok().flatten().unwrap_or_else(|| "x".repeat(VALUE_BYTES)))
            }
        }
    }
}

/// Returns how long each call of some tasks took.
async fn call_for(lasts: Duration, side: Arc<Side>) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..TASKS {
        let side = Arc::clone(&side);
        running.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < lasts {
                let start = Instant::now();
                side.read_through(&format!("{task}:{}", times.len())).await?;
                times.push(start.elapsed());
                // sleeps: callers of a service do not call without a pause
                sleep(PAUSE).await;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}
