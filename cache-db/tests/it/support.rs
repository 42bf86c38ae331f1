//! Settings and files for the tests.
#![allow(dead_code, reason = "each test program has use for some of it")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, Clock, store::Backend};
use cache_db as _;

/// A slow machine fails no test: the deadline is long, and the default lifetime, which is five
/// minutes otherwise, does not end while a test runs.
pub(crate) const PATIENT: &str = "deadline = \"20s\"\ntimeout = \"never\"\n";

/// Far longer than anything that the tests wait for, also on a machine that stands still at times.
const LIMIT: Duration = Duration::from_secs(300);
/// Turns the circuit breaker off.
pub(crate) const NO_BREAKER: &str = "[caches.default.breaker]\nenabled = false\n";

/// Returns the settings of one cache.
pub(crate) fn toml(location: &str, more: &str) -> String {
    format!("[caches.default]\nbackend = \"db\"\nlocation = '{location}'\n{more}\n")
}

/// Builds caches.
pub(crate) fn caches(location: &str, more: &str) -> Caches {
    Caches::from_toml(&toml(location, more)).unwrap()
}

/// Builds a cache.
pub(crate) fn cache(location: &str, more: &str) -> Cache {
    caches(location, more).get("default").unwrap().clone()
}

/// Builds the store of a cache.
pub(crate) fn store(location: &str, more: &str) -> Arc<dyn Backend> {
    cache(location, more).backend().clone()
}

/// Builds a cache with a clock that the test moves.
pub(crate) fn cache_by(clock: &Clock, location: &str, more: &str) -> Cache {
    let caches = Caches::builder().clock(clock.clone()).toml(&toml(location, more)).unwrap();
    caches.build().unwrap().get("default").unwrap().clone()
}

/// Builds a store with a clock that the test moves.
pub(crate) fn store_by(clock: &Clock, location: &str, more: &str) -> Arc<dyn Backend> {
    cache_by(clock, location, more).backend().clone()
}

/// Returns a path as text for settings.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Polls a condition until it is true.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: neither files nor the store's own threads send a signal to wait for
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
