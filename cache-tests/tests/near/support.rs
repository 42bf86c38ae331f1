use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, NearStats};
use cache_db as _;
use cache_memory as _;
use cache_redis as _;

/// Deadlines for slow machines. The stream of a server that does not reply for longer ends, and a
/// key whose write timed out is not near until the timeout of the tier.
const PATIENT: &str = "deadline = '20s'\nconnect_deadline = '20s'";
/// The default deadlines, for tests of servers that do not reply. A slow machine may exceed them,
/// so caches with them write nothing.
pub(crate) const HASTY: &str = "deadline = '500ms'\nconnect_deadline = '1s'";

/// Returns the cache of these settings of `near`, and its caches.
pub(crate) fn caches(location: &str, near: &str, more: &str) -> Caches {
    let backend = if location.starts_with("postgres") { "postgres" } else { "redis" };
    let patience = if more.contains("deadline") { "" } else { PATIENT };
    let text = format!(
        "[caches.default]\nbackend = '{backend}'\nlocation = '{location}'\n{patience}\n{more}\n\
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
        "[caches.default]\nbackend = 'redis'\nlocation = {urls:?}\noptions = {{ {options} }}\n{PATIENT}\n\
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
    if more.contains(HASTY) {
        wait_until("the stream has begun", async || {
            cache.check().await.is_ok() && !near(&cache).is_bypassed
        })
        .await;
    } else {
        cache.check().await.unwrap();
        assert!(!near(&cache).is_bypassed);
    }
    assert_eq!(near(&cache).invalidation.as_str(), invalidation);
    cache
}

pub(crate) fn near(cache: &Cache) -> NearStats {
    cache.stats().near.unwrap()
}

/// Waits until a condition holds.
///
/// # Panics
/// After two minutes.
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            // sleeps: no event says that the condition holds
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect(what);
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

/// Measures for how long the machine lets a thread wait: one of its own, the thread of the library
/// that receives the stream, and the server.
pub(crate) struct Standstill {
    stop: mpsc::Sender<()>,
    measuring: JoinHandle<Duration>,
}

impl Standstill {
    /// Begins to measure, with calls of this cache for a key that does not exist.
    pub(crate) fn measure(cache: &Cache) -> Self {
        const STEP: Duration = Duration::from_millis(5);
        let blocking = cache.blocking();
        let (stop, stopped) = mpsc::channel();
        let measuring = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let began = Instant::now();
                // The runtime of the library makes this call. A failed call took long as well.
                let _ = blocking.get::<i64>("absent");
                // sleeps: this measures the delay of a sleep
                thread::sleep(STEP);
                longest = longest.max(began.elapsed().saturating_sub(STEP));
            }
            longest
        });
        Self { stop, measuring }
    }

    /// Ends the measurement. Returns the longest time.
    pub(crate) fn longest(self) -> Duration {
        self.stop.send(()).unwrap();
        self.measuring.join().unwrap()
    }
}
