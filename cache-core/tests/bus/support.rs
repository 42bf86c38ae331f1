use std::time::Duration;

use cache_core::{BusStats, Cache, Caches, CachesBuilder, secs};
use cache_memory as _;

use crate::hub::{self, Hub};

/// Returns the caches of one process: `default` on the bus of the hub.
pub(crate) fn caches(hub: &Hub, more: &str) -> Caches {
    builder(hub, more).build().unwrap()
}

/// Returns the builder of the caches of one process.
pub(crate) fn builder(hub: &Hub, more: &str) -> CachesBuilder {
    let text =
        format!("[caches.default]\nbackend = 'memory'\nbus = '{}'\ntags = true\n{more}", hub.url);
    Caches::builder().driver(hub::DRIVER).stderr_notice(false).toml(&text).unwrap()
}

/// Returns the cache of a process, after messages arrive.
pub(crate) async fn process(hub: &Hub, more: &str) -> Cache {
    let cache = caches(hub, more).get("default").unwrap().clone();
    cache.check().await.unwrap();
    assert!(!bus(&cache).is_bypassed);
    cache
}

/// Returns two processes on one bus.
pub(crate) async fn two(more: &str) -> (std::sync::Arc<Hub>, Cache, Cache) {
    let hub = Hub::new();
    let (one, other) = (process(&hub, more).await, process(&hub, more).await);
    (hub, one, other)
}

pub(crate) fn bus(cache: &Cache) -> BusStats {
    cache.stats().bus.unwrap()
}

/// Stores a value in the memory of each process.
pub(crate) async fn put(caches: &[&Cache], key: &str, value: i32) {
    for cache in caches {
        cache.set(key, &value, secs(600)).await.unwrap();
        assert_eq!(get(cache, key).await, Some(value));
    }
}

pub(crate) async fn get(cache: &Cache, key: &str) -> Option<i32> {
    cache.get(key).await.unwrap()
}

/// Waits until a condition holds.
///
/// # Panics
/// After a minute.
pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            // sleeps: no event says that the condition holds
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}
