//! Settings, waiting, and the report.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use cache_core::{Cache, Error, ErrorKind, Result, layer::BreakerState};

/// Many times what any call may take by its deadlines, which are those of the defaults: it only tells who hangs.
pub const LONG: Duration = Duration::from_secs(15);
/// For what must not fail: slow machines are slow, not wrong.
pub const PATIENT: &str = "deadline = \"20s\"\n";
/// For tests of connections: each call is sent, however many have failed before it.
pub const NO_BREAKER: &str = "[caches.default.breaker]\nenabled = false\n";
/// Far longer than servers need to find together again.
const LIMIT: Duration = Duration::from_secs(60);

/// A line of the table.
pub fn report(outage: &str, seen: &str, took: Duration) {
    eprintln!("| {outage} | {seen} | {took:.1?} |");
}

/// What came of a call, and how long that took.
pub async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (call.await, began.elapsed())
}

/// Asks until the answer is yes; how long that took.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: servers, and what the store does on its own, give no sign that could be waited for
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// What a call answers that must not fail, though its deadline is short: slow machines are slow, not wrong. One that times out is
/// made again only where the twins beside it, who ask the same server and are patient, had to wait as long.
pub async fn answered<T>(
    mut twin: impl AsyncFnMut(),
    mut call: impl AsyncFnMut() -> Result<T>,
) -> T {
    loop {
        let is_done = Cell::new(false);
        let own = async {
            let res = timed(call()).await;
            is_done.set(true);
            res
        };
        // From before the call until after it: what stops the call for a while stops one of them.
        let twins = async {
            let mut longest = Duration::ZERO;
            while !is_done.get() {
                longest = longest.max(timed(twin()).await.1);
            }
            longest.max(timed(twin()).await.1)
        };
        let (longest, (res, took)) = tokio::join!(twins, own);
        match res {
            Ok(it) => return it,
            Err(error) => assert!(
                error.kind() == ErrorKind::TimedOut && longest * 2 > took,
                "{error}, after {took:?}; a patient call was answered after {longest:?}"
            ),
        }
    }
}

/// Whether it is what an outage is: the server was not there, or did not answer.
pub fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut)
}

/// Whether the breaker of a cache keeps callers from the server.
pub fn is_open(cache: &Cache) -> bool {
    cache.stats().breaker == Some(BreakerState::Open)
}

/// The keys `name0`, `name1`, …
pub fn keys(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name}{i}")).collect()
}

/// A key of a cache without a prefix, as the store knows it.
pub fn stored_key(key: &str) -> String {
    format!(":1:{key}")
}
