//! Hits of functions that an attribute keeps, in the process and without HTTP.

use std::{hint::black_box, time::Duration};

use anyhow::Result;
use cache_core::{CACHES, Caches};
use cache_memory as _;
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
};

use crate::harness::{Bench, Case, Contest, Side, Unit};

const CASE: &str = "attribute_hit";
const ID: u64 = 7;
const LEN: usize = 100;
const LIFETIME: Duration = Duration::from_secs(3600);

/// Compares hits. `cached` and `moka` clone the value; this library decodes it.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.wants(CASE) {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let caches = Caches::from_toml("caches.default.backend = 'memory'")?.leak();
    let cache = caches.get("default")?;
    let key = by_text::key(ID)?;
    let moka = moka::future::Cache::builder().time_to_live(LIFETIME).build();
    let scope = Scope { runtime: &runtime, caches };
    let sides = vec![
        scope.side("cache-core", async || by_text(ID).await),
        scope.side("digest", async || by_digest(ID).await),
        scope.side("get", async || cache.get::<String>(&key).await.ok().flatten()),
        scope.side("cached_by_key", async || peer_by_key(ID).await),
        scope.side("cached", async || peer_alone(ID).await),
        scope.side("moka_by_hand", async || moka.get_with(ID, load(ID)).await),
    ];
    bench.run(Contest { case: Case::new(CASE, Unit::Nanos, LEN), sides })
}

/// Where the functions find their caches.
#[derive(Clone, Copy)]
struct Scope<'a> {
    runtime: &'a Runtime,
    caches: &'static Caches,
}

impl<'a> Scope<'a> {
    fn side<R>(self, name: &'static str, call: impl AsyncFn() -> R + 'a) -> Side<'a> {
        Side::busy(name, move |count| {
            self.runtime.block_on(CACHES.scope(self.caches, async {
                for _ in 0..count {
                    black_box(call().await);
                }
            }));
        })
    }
}

#[cache_core::cached(ttl = "1h", key = "user:{id}")]
async fn by_text(id: u64) -> String {
    load(id).await
}

#[cache_core::cached(ttl = "1h")]
async fn by_digest(id: u64) -> String {
    load(id).await
}

#[cached::macros::cached(ttl_secs = 3600, sync_writes = "by_key")]
async fn peer_by_key(id: u64) -> String {
    load(id).await
}

#[cached::macros::cached(ttl_secs = 3600)]
async fn peer_alone(id: u64) -> String {
    load(id).await
}

async fn load(id: u64) -> String {
    yield_now().await;
    format!("{id:0LEN$}")
}
