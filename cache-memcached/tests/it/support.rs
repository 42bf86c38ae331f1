//! Settings and servers for the tests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, store::Backend};
use cache_memcached as _;
use test_servers::{Memcached, Server as _};

use crate::raw::Raw;

/// Slow machines are slow, not wrong.
pub(crate) const PATIENT: &str = "deadline = \"20s\"\n";
/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(30);

/// The settings of one cache.
pub(crate) fn toml(location: &[impl AsRef<str>], more: &str) -> String {
    let location: Vec<_> = location.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    format!(
        "[caches.default]\nbackend = \"memcached\"\nlocation = [{}]\n{more}\n",
        location.join(", ")
    )
}

/// A cache by settings.
pub(crate) fn cache(location: &[impl AsRef<str>], more: &str) -> Cache {
    let caches = Caches::from_toml(&toml(location, more)).unwrap();
    caches.get("default").unwrap().clone()
}

/// The store of a cache by settings.
pub(crate) fn store(location: &[impl AsRef<str>], more: &str) -> Arc<dyn Backend> {
    cache(location, more).backend().clone()
}

/// So many servers.
pub(crate) fn servers(count: usize) -> Vec<Memcached> {
    (0..count).map(|_| Memcached::start().unwrap()).collect()
}

/// Where they are.
pub(crate) fn at(servers: &[Memcached]) -> Vec<String> {
    servers.iter().map(|it| it.address().to_string()).collect()
}

/// Talks to a server as another program does.
pub(crate) fn raw(server: &Memcached) -> Raw {
    Raw::to(server.address())
}

/// The key under which the server has an entry of a cache with this prefix: behind the generation of the prefix.
pub(crate) fn stored_key(raw: &mut Raw, prefix: &str, key: &str) -> String {
    let generation = raw.get(&format!("!:{prefix}")).unwrap();
    format!("{generation}:{prefix}:1:{key}")
}

/// What the server has under it.
pub(crate) fn stored(raw: &mut Raw, prefix: &str, key: &str) -> Option<String> {
    let key = stored_key(raw, prefix, key);
    raw.get(&key)
}

/// Asks until the answer is yes; how long that took.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: the server's clock, and what the store remembers by its own, cannot be held
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}
