//! The duration of a call while the server is down.

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use cache_core::{Caches, Timeout};
use redis::{Client, cmd};
use test_servers::{Redis, Server as _};

use super::workers::{Job, Workers};
use crate::harness::{Bench, Case, Contest, Unit};

const CASE: &str = "get_broken";
/// More failures than the breaker needs to open.
const FAILURES: usize = 100;

/// Measures `cache-redis` with an open breaker, including its probes, and direct use: a request on
/// the closed connection, and an attempt to connect again.
pub(super) fn run(bench: &mut Bench<'_>, workers: &Workers) -> Result<()> {
    if !bench.wants(CASE) {
        return Ok(());
    }
    let server = Redis::start()?;
    let url = server.url();
    let toml = format!("[caches.default]\nbackend = \"redis\"\nlocation = \"{url}\"\n");
    let cache = Caches::from_toml(&toml)?.get("default")?.clone();
    let opener = Client::open(url)?;
    let connection = workers.block_on(async {
        cache.set("key", &1, Timeout::Default).await?;
        ensure!(cache.get::<i32>("key").await? == Some(1), "the server is not reachable");
        let res = opener.get_multiplexed_async_connection().await?;
        server.kill();
        for _ in 0..FAILURES {
            // A failed read is a miss.
            cache.get::<i32>("key").await?;
        }
        Ok(res)
    })?;
    let ours: Job = Arc::new(move |range| {
        let cache = cache.clone();
        Box::pin(async move {
            for _ in range {
                black_box(cache.get::<i32>("key").await?);
            }
            Ok(())
        })
    });
    let lost: Job = Arc::new(move |range| {
        let mut it = connection.clone();
        Box::pin(async move {
            for _ in range {
                let _ = black_box(cmd("GET").arg("key").query_async::<Option<i32>>(&mut it).await);
            }
            Ok(())
        })
    });
    let reconnect: Job = Arc::new(move |range| {
        let opener = opener.clone();
        Box::pin(async move {
            for _ in range {
                let _ = black_box(opener.get_multiplexed_async_connection().await);
            }
            Ok(())
        })
    });
    let side = |name, job| workers.side(name, 1, job);
    let sides =
        vec![side("cache-redis", ours), side("redis", lost), side("redis_connect", reconnect)];
    let case = Case::new(CASE, Unit::Nanos, 1).on_runtime(workers.flavour(), 1);
    bench.run(Contest { case, sides })
}
