//! How fast the circuit breaker opens for a server that stops replying.

use std::time::{Duration, Instant};

use cache_core::Cache;
use futures_util::future::join_all;
use test_servers::Server;
use tokio::task::JoinHandle;

use crate::{is_outage, report, timed};

/// The default deadline.
const DEADLINE: Duration = Duration::from_millis(500);
/// The number of successful calls before the freeze.
const HEALTHY: usize = 6000;

/// Freezes a server after successful traffic, and checks how long callers wait: until the breaker
/// opens, which takes at most 1.5 deadlines, and until the calls that began before have ended. The
/// cache has the default deadlines.
pub async fn freeze_opens_the_breaker_in_time(server: &impl Server, cache: &Cache, callers: usize) {
    let cache = cache.strict();
    let healthy = |_| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let mut answered = 0;
            while answered < HEALTHY / callers {
                answered += usize::from(cache.get::<i32>("k").await.is_ok());
            }
        })
    };
    for it in join_all((0..callers).map(healthy)).await {
        it.unwrap();
    }
    let calling: Vec<_> =
        (0..callers).map(|_| tokio::spawn(until_refused(cache.clone()))).collect();
    let frozen = Instant::now();
    server.freeze();
    // On a busy machine this takes a while, and the server stopped at some time meanwhile.
    let freezing = frozen.elapsed();
    let late = freezing + lateness(|| calling.iter().all(JoinHandle::is_finished)).await;
    let refused = join_all(calling).await.into_iter().map(|it| it.unwrap() - frozen);
    let refused: Vec<_> = refused.collect();
    let (first, last) = (*refused.iter().min().unwrap(), *refused.iter().max().unwrap());
    let seen = format!(
        "refused from {first:.0?} on, all by {last:.0?}; the machine was late by {late:.0?}"
    );
    report(&format!("frozen after {HEALTHY} calls, {callers} callers"), &seen, first);
    assert!(first < DEADLINE * 3 / 2 + late, "{callers} callers: {first:?}, late by {late:?}");
    // A call that was sent before ends by its own deadlines; one that waits for a connection has
    // two.
    assert!(last < DEADLINE * 3 + late, "{callers} callers: {last:?}, late by {late:?}");
    server.thaw();
}

/// Calls until the breaker refuses a call. Returns when that was.
async fn until_refused(cache: Cache) -> Instant {
    loop {
        match cache.get::<i32>("k").await {
            Err(error) if error.to_string().contains("circuit breaker") => return Instant::now(),
            Err(error) => assert!(is_outage(&error), "{error}"),
            Ok(_) => {}
        }
    }
}

/// Returns how late the machine was meanwhile: twice the sum of the delays of sleeps that follow
/// each other, or 16 times the worst of them, because each step of a call may be delayed, by its
/// timer and by the task that the timer wakes.
async fn lateness(mut is_finished: impl FnMut() -> bool) -> Duration {
    const STEP: Duration = Duration::from_millis(5);
    /// The delay of a timer on an idle machine.
    const USUAL: Duration = Duration::from_millis(2);
    let (mut worst, mut sum) = (Duration::ZERO, Duration::ZERO);
    while !is_finished() {
        // sleeps: this measures the delay of a sleep
        let ((), took) = timed(tokio::time::sleep(STEP)).await;
        let delay = took.saturating_sub(STEP);
        worst = worst.max(delay);
        sum += delay.saturating_sub(USUAL);
    }
    2 * sum.max(worst * 8)
}
