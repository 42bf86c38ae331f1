//! Settings and files for the tests.
#![allow(dead_code, reason = "each test program has use for some of it")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, Clock, store::Backend};
use cache_db as _;

/// Slow machines are slow, not wrong.
pub(crate) const PATIENT: &str = "deadline = \"20s\"\n";

/// Far longer than anything takes that is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// Not what is tested here.
pub(crate) const NO_BREAKER: &str = "[caches.default.breaker]\nenabled = false\n";

/// The settings of one cache.
pub(crate) fn toml(location: &str, more: &str) -> String {
    format!("[caches.default]\nbackend = \"db\"\nlocation = '{location}'\n{more}\n")
}

/// Caches by settings.
pub(crate) fn caches(location: &str, more: &str) -> Caches {
    Caches::from_toml(&toml(location, more)).unwrap()
}

/// A cache by settings.
pub(crate) fn cache(location: &str, more: &str) -> Cache {
    caches(location, more).get("default").unwrap().clone()
}

/// The store of a cache by settings.
pub(crate) fn store(location: &str, more: &str) -> Arc<dyn Backend> {
    cache(location, more).backend().clone()
}

/// A store whose clock the test moves.
pub(crate) fn store_by(clock: &Clock, location: &str, more: &str) -> Arc<dyn Backend> {
    let caches = Caches::builder().clock(clock.clone()).toml(&toml(location, more)).unwrap();
    caches.build().unwrap().get("default").unwrap().backend().clone()
}

/// A path as it is written in settings.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: files, and what the store does on its own, give no sign that could be waited for
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
