//! Settings, waiting, and reports of outcomes.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use cache_core::{Cache, Error, ErrorKind, Result, layer::BreakerState};

use crate::lateness::Waits;

/// Many times longer than a call may take by the default deadlines: a call that exceeds it hangs.
pub const LONG: Duration = Duration::from_secs(15);
/// Deadlines for calls that must not fail on a slow machine.
pub const PATIENT: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n";
/// For tests of connections: each call is sent, even after many failures.
pub const NO_BREAKER: &str = "[caches.default.breaker]\nenabled = false\n";
/// How often a call may time out on a slow machine.
const ATTEMPTS: u32 = 50;
/// Much longer than servers need to recover on a machine that is busy with other work.
const LIMIT: Duration = Duration::from_secs(300);

/// Prints a line of the book's table.
pub fn report(outage: &str, seen: &str, took: Duration) {
    eprintln!("| {outage} | {seen} | {took:.1?} |");
}

/// Returns the outcome of a call and the time it took.
pub async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (call.await, began.elapsed())
}

/// Waits until a condition holds. Returns how long that took.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        // sleeps: servers and the background work of stores emit no event that could be awaited
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// Returns the value of a call that must not fail although its deadline is short. A call that times
/// out is repeated only if the machine is slow: if the control calls, which run at the same time on
/// the same server with a long deadline, took as long, or if a thread of this process had to wait
/// for a processor.
pub async fn answered<T>(
    mut control: impl AsyncFnMut(),
    mut call: impl AsyncFnMut() -> Result<T>,
) -> T {
    for _ in 0..ATTEMPTS {
        let waits = Waits::now();
        let is_done = Cell::new(false);
        let own = async {
            let res = timed(call()).await;
            is_done.set(true);
            res
        };
        // From before the call until after it: a delay of the call also delays one of these.
        let controls = async {
            let mut longest = Duration::ZERO;
            while !is_done.get() {
                longest = longest.max(timed(control()).await.1);
            }
            longest.max(timed(control()).await.1)
        };
        let (longest, (res, took)) = tokio::join!(controls, own);
        match res {
            Ok(it) => return it,
            Err(error) => {
                let waited = waits.longest();
                assert!(
                    error.kind() == ErrorKind::TimedOut && longest.max(waited) * 2 > took,
                    "{error}, after {took:?}; the slowest control call took {longest:?}, and a \
                     thread waited for {waited:?}"
                );
            }
        }
    }
    panic!("the call has timed out {ATTEMPTS} times");
}

/// Returns whether the error is one of an outage: the server was unreachable or did not reply.
pub fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut)
}

/// Returns whether the circuit breaker of the cache is open.
pub fn is_open(cache: &Cache) -> bool {
    cache.stats().breaker == Some(BreakerState::Open)
}

/// Returns the keys `name0`, `name1`, …
pub fn keys(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name}{i}")).collect()
}

/// Returns the stored form of a key of a cache without a prefix.
pub fn stored_key(key: &str) -> String {
    format!(":1:{key}")
}
