//! Settings and servers for the tests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, Clock, store::Backend, testing::FakeClock};
use cache_memcached as _;
use test_servers::{Memcached, Server as _};

use crate::raw::Raw;

/// For slow machines.
pub(crate) const PATIENT: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n";
/// Far longer than any operation takes, also on a machine that stands still at times.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns the settings of one cache.
pub(crate) fn toml(location: &[impl AsRef<str>], more: &str) -> String {
    let location: Vec<_> = location.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    format!(
        "[caches.default]\nbackend = \"memcached\"\nlocation = [{}]\n{more}\n",
        location.join(", ")
    )
}

/// Returns a cache with these settings.
pub(crate) fn cache(location: &[impl AsRef<str>], more: &str) -> Cache {
    by(Clock::system(), location, more)
}

/// Returns a cache whose deadlines follow a clock that the test moves. The cache time of
/// generations follows the clock of the machine.
pub(crate) fn cache_by(clock: &FakeClock, location: &[impl AsRef<str>], more: &str) -> Cache {
    by(clock.clock(), location, more)
}

fn by(clock: Clock, location: &[impl AsRef<str>], more: &str) -> Cache {
    let caches = Caches::builder().clock(clock).toml(&toml(location, more)).unwrap();
    caches.build().unwrap().get("default").unwrap().clone()
}

/// Returns the store of a cache with these settings.
pub(crate) fn store(location: &[impl AsRef<str>], more: &str) -> Arc<dyn Backend> {
    cache(location, more).backend().clone()
}

/// Starts this many servers.
pub(crate) fn servers(count: usize) -> Vec<Memcached> {
    (0..count).map(|_| Memcached::start().unwrap()).collect()
}

/// Returns the locations of the servers.
pub(crate) fn at(servers: &[Memcached]) -> Vec<String> {
    servers.iter().map(|it| it.address().to_string()).collect()
}

/// Connects to a server like another program.
pub(crate) fn raw(server: &Memcached) -> Raw {
    Raw::to(server.address())
}

/// Returns the server's key of an entry of a cache with this prefix, which contains the generation.
pub(crate) fn stored_key(raw: &mut Raw, prefix: &str, key: &str) -> String {
    let generation = raw.get(&format!("!:{prefix}")).unwrap();
    format!("{generation}:{prefix}:1:{key}")
}

/// Returns the server's value of this key.
pub(crate) fn stored(raw: &mut Raw, prefix: &str, key: &str) -> Option<String> {
    let key = stored_key(raw, prefix, key);
    raw.get(&key)
}

/// Repeats `ask` until it returns true. Returns how long that took.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: the server's clock and the cache time of generations cannot be controlled
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}
