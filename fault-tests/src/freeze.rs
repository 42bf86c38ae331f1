//! How fast the circuit breaker opens for a server that stops replying.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use cache_core::Cache;
use futures_util::future::join_all;
use test_servers::Server;
use tokio::{runtime::Builder, sync::oneshot, task::JoinHandle};

use crate::{is_outage, lateness::lateness, report};

/// The default deadline.
const DEADLINE: Duration = Duration::from_millis(500);
/// The number of successful calls before the freeze.
const HEALTHY: usize = 6000;

/// Freezes a server after successful traffic, and checks how long callers wait: until the breaker
/// opens, which takes at most 1.5 deadlines, and until the calls that began before have ended. The
/// cache has the default deadlines.
pub fn freeze_opens_the_breaker_in_time(server: &impl Server, cache: &Cache, callers: usize) {
    // All calls on one thread: if the machine delays them, it delays the clock that measures its
    // delays as well.
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (freeze, requested) = mpsc::channel::<oneshot::Sender<()>>();
    thread::scope(|scope| {
        let calls = scope.spawn(|| runtime().block_on(calls_end_in_time(cache, callers, freeze)));
        if let Ok(done) = requested.recv() {
            server.freeze();
            done.send(()).unwrap();
        }
        calls.join().unwrap();
    });
    server.thaw();
}

async fn calls_end_in_time(
    cache: &Cache,
    callers: usize,
    freeze: mpsc::Sender<oneshot::Sender<()>>,
) {
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
    let (done, is_done) = oneshot::channel();
    let frozen = Instant::now();
    freeze.send(done).unwrap();
    is_done.await.unwrap();
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
