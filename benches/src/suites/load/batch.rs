//! The round trips of a hundred keys that are read through, counted in front of a Redis server.

use std::sync::Arc;

use anyhow::{Result, ensure};
use cache_core::Cache;
use cache_redis as _;
use redis::{Client, aio::MultiplexedConnection, cmd, pipe};
use test_servers::{Redis, Server as _};
use tokio::runtime::Builder;

use super::super::rounds::Rounds;
use crate::{
    harness::{Bench, Case, Unit},
    suites::network::{
        ours::{self, LIFETIME},
        round_trips::RoundTrips,
    },
};

const CASES: [&str; 2] = ["get_or_set_many_100", "get_or_set_many_hits"];
const KEYS: usize = 100;
const VALUE_BYTES: usize = 100;

/// Counts the round trips with missing keys, and with stored ones.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !CASES.iter().any(|it| bench.wants(it)) {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = Redis::start()?;
    let trips = RoundTrips::to(server.address())?;
    let url = format!("redis://{}", trips.address);
    let cache = ours::cache(&format!(
        "backend = \"redis\"\nlocation = \"{url}\"\noptions.connections = 1"
    ))?;
    let by_hand = runtime.block_on(Client::open(url)?.get_multiplexed_async_connection())?;
    let sides = [Side::Batch(cache.clone()), Side::OneByOne(cache), Side::ByHand(by_hand)];
    let names = vec!["cache-core", "100_get_or_set", "redis"];
    let case = |it| Case::new(it, Unit::Count("round trips"), VALUE_BYTES);
    let mut rounds = Rounds::new(names, CASES.map(case).to_vec());
    for round in 0..=bench.effort().rounds {
        for (place, side) in sides.iter().enumerate() {
            let keys: Vec<String> =
                (0..KEYS).map(|it| format!("{place}:{round:04}:{it:03}")).collect();
            let mut figures = [0.0; 2];
            for figure in &mut figures {
                trips.take();
                runtime.block_on(side.read_through(&keys))?;
                *figure = trips.take() as f64;
            }
            // The first round connects.
            if round > 0 {
                rounds.add(place, figures);
            }
        }
    }
    rounds.tell(bench)
}

enum Side {
    Batch(Cache),
    OneByOne(Cache),
    /// One `MGET`, and one pipeline of `SET`.
    ByHand(MultiplexedConnection),
}

impl Side {
    async fn read_through(&self, keys: &[String]) -> Result<()> {
        let value: Arc<str> = "x".repeat(VALUE_BYTES).into();
        let mut found = 0;
        match self {
            Self::Batch(cache) => {
                let load = |missing: Vec<String>| async {
                    missing.into_iter().map(|key| (key, value.to_string())).collect::<Vec<_>>()
                };
                found = cache.get_or_set_many(keys.to_vec(), LIFETIME, load).await?.len();
            }
            Self::OneByOne(cache) => {
                for key in keys {
                    let load = async || value.to_string();
                    found += usize::from(!cache.get_or_set(key, LIFETIME, load).await?.is_empty());
                }
            }
            Self::ByHand(connection) => {
                let mut connection = connection.clone();
                let values: Vec<Option<String>> =
                    cmd("MGET").arg(keys).query_async(&mut connection).await?;
                let mut write = pipe();
                for (key, value_found) in keys.iter().zip(&values) {
                    if value_found.is_none() {
                        write.cmd("SET").arg(key).arg(&*value).arg("EX").arg(3600).ignore();
                    }
                }
                if values.contains(&None) {
                    write.exec_async(&mut connection).await?;
                }
                found = values.len();
            }
        }
        ensure!(found == KEYS, "{found} values");
        Ok(())
    }
}
