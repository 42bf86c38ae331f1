//! A clock of a cache that moves only while a call runs, so that a machine that stands still makes
//! no call late.

use std::{pin::pin, time::Duration};

use cache_core::testing::FakeClock;

use crate::until;

/// Runs a call while the clock moves ten times as fast as the time. Returns the outcome, and the
/// time by the clock: for calls that end by their deadlines.
///
/// On a runtime with one thread, the tasks of the call go on between two steps. There, the time by
/// the clock does not depend on the machine.
pub async fn timed_by<T>(clock: &FakeClock, call: impl Future<Output = T>) -> (T, Duration) {
    run(clock, Duration::from_millis(10), Duration::from_millis(1), call).await
}

/// Runs a call while the clock moves a tenth as fast as the time: for calls that are answered. A
/// deadline of a second lasts for ten.
///
/// The clock must move, because stores pause for milliseconds.
pub async fn slowly_by<T>(clock: &FakeClock, call: impl Future<Output = T>) -> T {
    run(clock, Duration::from_millis(1), Duration::from_millis(10), call).await.0
}

/// As [`until`], for calls of a cache with this clock, which moves as in [`slowly_by`] meanwhile,
/// and a little between two attempts.
pub async fn until_by(clock: &FakeClock, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until(what, async || {
        clock.advance(Duration::from_millis(10));
        slowly_by(clock, condition()).await
    })
    .await;
}

async fn run<T>(
    clock: &FakeClock,
    step: Duration,
    pause: Duration,
    call: impl Future<Output = T>,
) -> (T, Duration) {
    let (mut call, mut passed) = (pin!(call), Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            outcome = &mut call => return (outcome, passed),
            // sleeps: the call needs time, and gives no sign that it waits for the clock only
            () = tokio::time::sleep(pause) => {}
        }
        clock.advance(step);
        passed += step;
    }
}
