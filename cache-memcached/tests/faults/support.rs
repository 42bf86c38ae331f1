//! Caches, waiting, and the report.

use std::{
    fs,
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, Error, ErrorKind, layers::BreakerState};
use cache_memcached as _;
use test_servers::{Memcached, Proxy, Server as _};

use crate::raw::Raw;

/// Many times what any call may take by its deadlines, which are those of the defaults: it only tells who hangs.
pub(crate) const LONG: Duration = Duration::from_secs(15);
/// For what must not fail: slow machines are slow, not wrong.
pub(crate) const PATIENT: &str = "deadline = \"20s\"\n";
/// Far longer than servers need to find together again.
const LIMIT: Duration = Duration::from_secs(60);

/// A cache by settings.
pub(crate) fn cache(location: &[impl AsRef<str>], more: &str) -> Cache {
    let location: Vec<_> = location.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    let location = location.join(", ");
    let toml =
        format!("[caches.default]\nbackend = \"memcached\"\nlocation = [{location}]\n{more}\n");
    Caches::from_toml(&toml).unwrap().get("default").unwrap().clone()
}

/// A cache whose calls go through this proxy.
pub(crate) fn cache_through(proxy: &Proxy, more: &str) -> Cache {
    cache(&[proxy.address().to_string()], more)
}

/// Not what is tested here.
pub(crate) const NO_BREAKER: &str = "[caches.default.breaker]\nenabled = false\n";

/// A line of the table.
pub(crate) fn report(outage: &str, seen: &str, took: Duration) {
    eprintln!("| {outage} | {seen} | {took:.1?} |");
}

/// What came of a call, and how long that took.
pub(crate) async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (call.await, began.elapsed())
}

/// Asks until the answer is yes; how long that took.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: servers, and what the store does on its own, give no sign that could be waited for
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// Whether it is what an outage is: the server was not there, or did not answer.
pub(crate) fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut)
}

pub(crate) fn is_open(cache: &Cache) -> bool {
    cache.stats().breaker == Some(BreakerState::Open)
}

/// The keys `name0`, `name1`, …
pub(crate) fn keys(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name}{i}")).collect()
}

/// Where a server is.
pub(crate) fn at(server: &Memcached) -> String {
    server.address().to_string()
}

/// What the server holds under this key of a cache without a prefix.
pub(crate) fn stored(server: &Memcached, key: &str) -> Option<String> {
    let mut raw = Raw::to(server.address());
    let generation = raw.get("!:")?;
    raw.get(&format!("{generation}::1:{key}"))
}

/// How many connections to this port have a client whom nobody has told that they are gone.
pub(crate) fn connections_to(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(2);
        let (remote, state) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        remote.ends_with(&port) && state == ESTABLISHED
    };
    table.lines().filter(is_one).count()
}
