//! How soon a server that does not answer any more costs nothing.

use std::time::{Duration, Instant};

use cache_core::Cache;
use futures_util::future::join_all;
use test_servers::Server;
use tokio::task::JoinHandle;

use crate::{is_outage, report, timed};

/// The default of the settings.
const DEADLINE: Duration = Duration::from_millis(500);
/// How many calls go well before.
const HEALTHY: usize = 6000;

/// Freezes a server after traffic that went well, and looks how long callers wait for it: until the breaker is open, which takes one
/// and a half deadlines at the most, and what they have begun before has ended. The cache has the default deadlines.
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
    let late = lateness(|| calling.iter().all(JoinHandle::is_finished)).await;
    let refused = join_all(calling).await.into_iter().map(|it| it.unwrap() - frozen);
    let refused: Vec<_> = refused.collect();
    let (first, last) = (*refused.iter().min().unwrap(), *refused.iter().max().unwrap());
    let seen = format!(
        "refused from {first:.0?} on, all by {last:.0?}; the machine was up to {late:.0?} late"
    );
    report(&format!("frozen after {HEALTHY} answers, {callers} callers"), &seen, first);
    // Each of the steps that lead there may be late.
    let late = late * 8;
    assert!(first < DEADLINE * 3 / 2 + late, "{callers} callers: {first:?}, late by {late:?}");
    // What was sent before has its own deadlines, of which a call that waits for a connection has two.
    assert!(last < DEADLINE * 3 + late, "{callers} callers: {last:?}, late by {late:?}");
    server.thaw();
}

/// Calls in a row, until the breaker refuses one: when that was.
async fn until_refused(cache: Cache) -> Instant {
    loop {
        match cache.get::<i32>("k").await {
            Err(error) if error.to_string().contains("circuit breaker") => return Instant::now(),
            Err(error) => assert!(is_outage(&error), "{error}"),
            Ok(_) => {}
        }
    }
}

/// How much later than asked for the machine does things, at the worst: the control.
async fn lateness(mut is_over: impl FnMut() -> bool) -> Duration {
    const STEP: Duration = Duration::from_millis(5);
    let mut worst = Duration::ZERO;
    while !is_over() {
        // sleeps: the delay of a sleep is what is measured
        let ((), took) = timed(tokio::time::sleep(STEP)).await;
        worst = worst.max(took.saturating_sub(STEP));
    }
    worst
}
