use std::{
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{BusStats, Cache, Caches, CachesBuilder, secs};
use cache_memory as _;

use crate::hub::{self, Hub};

/// Returns the caches of one process: `default` on the bus of the hub.
pub(crate) fn caches(hub: &Hub, more: &str) -> Caches {
    builder(hub, more).build().unwrap()
}

/// Deadlines that a call does not reach because a thread stands still.
pub(crate) const PATIENT: &str = "deadline = '60s'\nconnect_deadline = '60s'\n";

/// Returns the builder of the caches of one process. Their deadlines are [`PATIENT`], unless `more`
/// has others.
pub(crate) fn builder(hub: &Hub, more: &str) -> CachesBuilder {
    let deadlines = if more.contains("deadline") { "" } else { PATIENT };
    let text = format!(
        "[caches.default]\nbackend = 'memory'\nbus = '{}'\ntags = true\n{deadlines}{more}",
        hub.url
    );
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

/// Polls a future once, for a runtime that then stalls or a caller that drops it.
pub(crate) fn poll_once<F: Future>(future: &mut Pin<Box<F>>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}
