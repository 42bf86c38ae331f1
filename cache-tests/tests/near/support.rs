use std::time::Duration;

use cache_core::{Cache, Caches, NearStats};
use cache_db as _;
use cache_memory as _;
use cache_redis as _;

/// Returns the cache of these settings of `near`, and its caches.
pub(crate) fn caches(location: &str, near: &str, more: &str) -> Caches {
    let backend = if location.starts_with("postgres") { "postgres" } else { "redis" };
    let text = format!(
        "[caches.default]\nbackend = '{backend}'\nlocation = '{location}'\n{more}\n\
         [caches.default.near]\n{near}"
    );
    Caches::builder().stderr_notice(false).toml(&text).unwrap().build().unwrap()
}

pub(crate) fn cache(location: &str, near: &str, more: &str) -> Cache {
    caches(location, near, more).get("default").unwrap().clone()
}

/// Returns a cache on several servers, after its stream has begun. Only a message makes a write of
/// others visible in time.
pub(crate) async fn group(urls: &[String], options: &str, invalidation: &str) -> Cache {
    let cache = unused_group(urls, options, invalidation);
    cache.check().await.unwrap();
    assert!(!near(&cache).is_bypassed);
    cache
}

/// Returns a cache on several servers that has not connected yet.
pub(crate) fn unused_group(urls: &[String], options: &str, invalidation: &str) -> Cache {
    let text = format!(
        "[caches.default]\nbackend = 'redis'\nlocation = {urls:?}\noptions = {{ {options} }}\n\
         [caches.default.near]\ninvalidation = '{invalidation}'\ntimeout = '1h'"
    );
    let caches = Caches::builder().stderr_notice(false).toml(&text).unwrap().build().unwrap();
    caches.get("default").unwrap().clone()
}

/// Returns a cache with tracking, after the stream has begun.
pub(crate) async fn tracking(location: &str) -> Cache {
    connected(location, "tracking", "").await
}

/// Returns a cache with this invalidation, after the stream has begun. Without messages, an old
/// value would be near for longer than a test waits.
pub(crate) async fn connected(location: &str, invalidation: &str, more: &str) -> Cache {
    let near_settings = format!("invalidation = '{invalidation}'\ntimeout = '1h'");
    let cache = cache(location, &near_settings, more);
    cache.check().await.unwrap();
    assert!(!near(&cache).is_bypassed);
    assert_eq!(near(&cache).invalidation.as_str(), invalidation);
    cache
}

pub(crate) fn near(cache: &Cache) -> NearStats {
    cache.stats().near.unwrap()
}

/// Waits until a condition holds.
///
/// # Panics
/// After a minute.
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            // sleeps: no event says that the condition holds
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

pub(crate) async fn bypassed(cache: &Cache) {
    wait_until("the tier is bypassed", async || near(cache).is_bypassed).await;
}

pub(crate) async fn in_use(cache: &Cache) {
    wait_until("the tier is in use", async || {
        // Reads start the stream again if it was closed.
        let _ = cache.get::<i64>("k").await;
        !near(cache).is_bypassed
    })
    .await;
}

/// Makes the key `k` near.
pub(crate) async fn warm(cache: &Cache) {
    warm_key(cache, "k").await;
}

/// Makes a key near.
pub(crate) async fn warm_key(cache: &Cache, key: &str) {
    wait_until("a hit", async || {
        let before = near(cache).hits;
        cache.get::<i64>(key).await.unwrap();
        near(cache).hits > before
    })
    .await;
}

/// Waits until a read of the key `k` returns this value.
pub(crate) async fn visible(cache: &Cache, value: Option<i64>) {
    visible_at(cache, "k", value).await;
}

/// Waits until a read returns this value.
pub(crate) async fn visible_at(cache: &Cache, key: &str, value: Option<i64>) {
    wait_until("the value is visible", async || cache.get::<i64>(key).await.unwrap() == value)
        .await;
}
