//! A hit of a call that would load, compared with a plain `get`.

use std::hint::black_box;

use anyhow::Result;
use cache_core::{Cache, FetchSettings};
use cache_memory::Memory;
use tokio::runtime::{Builder, Runtime};

use super::contenders::{Contender, LIFETIME, contenders};
use crate::harness::{Bench, Case, Contest, Side, Unit};

const KEY: &str = "key-000000";

/// Compares hits of one key. `moka` and `cached` clone the value; this library decodes it.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let value = "x".repeat(100);
    for (case, cache) in [
        ("fetch", Cache::new("bench", Memory::new())),
        (
            "fetch_with_grace",
            Cache::builder(Memory::new())
                .fetch(FetchSettings::with_grace(LIFETIME))
                .build("bench")?,
        ),
    ] {
        runtime.block_on(cache.fetch(KEY).ttl(LIFETIME).prime(&value))?;
        let load = |_| async { Ok::<_, std::convert::Infallible>(String::new()) };
        let sides = vec![
            side(&runtime, "cache-core", async || {
                cache.fetch(KEY).ttl(LIFETIME).load(load).await.unwrap_or_default()
            }),
            side(&runtime, "get", async || cache.get::<String>(KEY).await),
            side(&runtime, "get_or_set", async || {
                cache.get_or_set(KEY, LIFETIME, async || String::new()).await
            }),
        ];
        bench.run(Contest { case: Case::new(case, Unit::Nanos, value.len()), sides })?;
    }
    if !bench.wants(BOXED) {
        return Ok(());
    }
    let contenders = contenders(&runtime);
    for it in &contenders {
        runtime.block_on((it.get)(KEY.into()));
    }
    let call = |it: &'_ Contender| (it.get)(KEY.into());
    let sides = contenders.iter().map(|it| side(&runtime, it.name, move || call(it))).collect();
    bench.run(Contest { case: Case::new(BOXED, Unit::Nanos, value.len()), sides })
}

/// Each call allocates its future and its key, of all contenders.
const BOXED: &str = "fetch_boxed";

fn side<'a, R>(
    runtime: &'a Runtime,
    name: &'static str,
    call: impl AsyncFn() -> R + 'a,
) -> Side<'a> {
    Side::busy(name, move |count| {
        runtime.block_on(async {
            for _ in 0..count {
                black_box(call().await);
            }
        });
    })
}
