//! Caches that load a missing value, all with the same loader.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::Cache;
use cache_memory::Memory;
use cached::macros::cached;
use tokio::runtime::Runtime;

/// A cache, and its call that returns the value of a key and loads it if it is missing.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) get: Box<dyn Fn(String) -> Got + Send + Sync>,
}

type Got = Pin<Box<dyn Future<Output = String> + Send>>;

pub(super) const LIFETIME: Duration = Duration::from_secs(3600);
/// How long a load takes.
pub(super) const LOAD: Duration = Duration::from_millis(10);

/// Static, because a function of `cached` has no state of its own.
static LOADS: AtomicU64 = AtomicU64::new(0);

/// Returns the number of loads since the last call.
pub(super) fn take_loads() -> u64 {
    LOADS.swap(0, Ordering::Relaxed)
}

/// Returns all contenders; the first is ours. The clock of cachet is a task of the runtime.
pub(super) fn contenders(runtime: &Runtime) -> Vec<Contender> {
    let _context = runtime.enter();
    let [fetched, loaded, by_hand] = [(); 3].map(|()| Cache::new("bench", Memory::new()));
    let moka = moka::future::Cache::builder().time_to_live(LIFETIME).build();
    let cachet = cachet::Cache::builder(tick::Clock::new_tokio()).memory().ttl(LIFETIME);
    let cachet = Arc::new(cachet.stampede_protection().build());
    vec![
        contender("cache-core", move |key| {
            let cache = fetched.clone();
            async move {
                let from = key.clone();
                let load = |_| async { Ok::<_, Infallible>(load(from).await) };
                cache.fetch(&key).ttl(LIFETIME).load(load).await.unwrap_or_default()
            }
        }),
        contender("get_or_set", move |key| {
            let cache = loaded.clone();
            async move {
                let load = || load(key.clone());
                cache.get_or_set(&key, LIFETIME, load).await.unwrap_or_default()
            }
        }),
        contender("moka", move |key| {
            let cache = moka.clone();
            async move { cache.get_with(key.clone(), load(key)).await }
        }),
        contender("cachet", move |key| {
            let cache = Arc::clone(&cachet);
            async move {
                let load = || load(key.clone());
                let entry = cache.get_or_insert(&key, load).await;
                entry.map(cachet::CacheEntry::into_value).unwrap_or_default()
            }
        }),
        contender("cached_by_key", cached_by_key),
        contender("cached", cached_alone),
        contender("by_hand", move |key| {
            let cache = by_hand.clone();
            async move {
                if let Ok(Some(found)) = cache.get(&key).await {
                    return found;
                }
                let value = load(key.clone()).await;
                cache.set(&key, &value, LIFETIME).await.map(|()| value).unwrap_or_default()
            }
        }),
    ]
}

fn contender<F>(name: &'static str, get: impl Fn(String) -> F + Send + Sync + 'static) -> Contender
where
    F: Future<Output = String> + Send + 'static,
{
    Contender { name, get: Box::new(move |key| Box::pin(get(key))) }
}

/// The loader of all contenders.
async fn load(key: String) -> String {
    LOADS.fetch_add(1, Ordering::Relaxed);
    // sleeps: it is the measured load
    tokio::time::sleep(LOAD).await;
    key.repeat(10)
}

#[cached(ttl_secs = 3600, sync_writes = "by_key")]
async fn cached_by_key(key: String) -> String {
    load(key).await
}

#[cached(ttl_secs = 3600)]
async fn cached_alone(key: String) -> String {
    load(key).await
}
