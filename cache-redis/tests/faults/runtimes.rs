//! Runtimes that start and stop under one handle.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cache_core::{Cache, ErrorKind, secs};
use fault_tests::{
    NO_BREAKER, PATIENT,
    runtimes::{LIMIT, calls_succeed, runtime},
};
use test_servers::{Redis, wait_until};
use tokio::runtime::Builder;

use crate::support::{OnRedis, cache};

fault_tests::runtimes!(OnRedis);

/// Returns how many connections the cache has, according to the server.
fn connections(redis: &Redis) -> usize {
    let list = redis.command(&["CLIENT", "LIST"]).unwrap().text();
    list.lines().filter(|it| it.contains("name=under-test")).count()
}

/// Returns the result of a closure. It runs in a thread of its own, because a stuck closure could
/// not report a failure.
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (say, said) = mpsc::channel();
    thread::spawn(move || say.send(what()));
    said.recv_timeout(LIMIT).expect("it has panicked, or is stuck")
}

/// The first call in a runtime that has ended fails at once, and does not block other callers of
/// the cache.
#[test]
fn first_call_in_an_ended_runtime_does_not_block_other_callers() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], PATIENT).strict();
    let late = cache.clone();
    let res = in_time(move || {
        let ended = runtime(2);
        let handle = ended.handle().clone();
        drop(ended);
        handle.block_on(late.get::<i32>("k")).map_err(|it| it.kind())
    });
    assert_eq!(res, Err(ErrorKind::Unavailable));
    in_time(move || runtime(2).block_on(calls_succeed(&cache)));
}

/// The same in a service: a worker makes its first call while its runtime is shut down.
#[test]
fn first_call_during_runtime_shutdown_does_not_block_other_callers() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], PATIENT).strict();
    let stopping = runtime(2);
    let (begin, begun) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let task = cache.clone();
    stopping.spawn(async move {
        begin.send(()).unwrap();
        // During a poll, because the shutdown of a runtime waits for it.
        stopped.recv().unwrap();
        let _ = task.get::<i32>("k").await;
        drop(begin);
    });
    begun.recv().unwrap();
    stopping.shutdown_background();
    stop.send(()).unwrap();
    // The sender is dropped with the task, however the task ends.
    let end = begun.recv_timeout(LIMIT);
    assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "the call is stuck");
    in_time(move || runtime(2).block_on(calls_succeed(&cache)));
}

/// "A network store that is called without a runtime or its timer is a typed error", and "nothing
/// else panics".
#[test]
fn runtime_without_sockets_is_an_error_with_the_reason() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], PATIENT).strict();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(cache.get::<i32>("k")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Runtime, "{error}");
    assert!(error.message().contains("enable_io"), "{error}");
}

/// Sets and gets keys in one runtime after another. Each runtime has running tasks when it ends.
/// Ends after some runtimes without a failure, however slow the machine is.
fn come_and_go(cache: &Cache, name: usize, until: Instant) {
    let mut rounds = 0;
    while Instant::now() < until || rounds <= 3 {
        let runtime = runtime(2);
        for i in 0..8 {
            let (cache, key) = (cache.clone(), format!("{name}-{i}"));
            runtime.spawn(async move {
                loop {
                    if cache.set(&key, &key, secs(60)).await.is_ok()
                        && let Ok(found) = cache.get::<String>(&key).await
                    {
                        assert_eq!(found.as_ref(), Some(&key));
                    }
                }
            });
        }
        let works = runtime.block_on(async {
            // sleeps: gives the tasks time to be in the middle of a call
            tokio::time::sleep(Duration::from_millis(20)).await;
            cache.set("own", "x", secs(60)).await.is_ok()
        });
        rounds += u32::from(works);
    }
}

/// Runtimes start and stop while other threads close the cache: no call hangs, no call receives the
/// value of another key, and no connection remains.
#[test]
fn runtimes_start_and_stop_while_others_close() {
    let redis = Redis::start().unwrap();
    let more = format!("{NO_BREAKER}[caches.default.options]\nclient_name = \"under-test\"\n");
    let cache = cache(&[redis.url()], &more).strict();
    let until = Instant::now() + Duration::from_secs(3);
    let left = in_time(move || {
        let work = |name| {
            let cache = cache.clone();
            thread::spawn(move || come_and_go(&cache, name, until))
        };
        let workers = [0, 1, 2].map(work);
        while !workers.iter().all(JoinHandle::is_finished) {
            cache.blocking().close().unwrap();
            // sleeps: without a pause, no connection would live long enough to be used
            thread::sleep(Duration::from_millis(3));
        }
        for it in workers {
            it.join().unwrap();
        }
        cache.blocking().close().unwrap();
        let works = || {
            let res = cache.blocking().get::<String>("own");
            // The machine may be slow.
            res.map_err(|it| assert_eq!(it.kind(), ErrorKind::TimedOut, "{it}")).is_ok()
        };
        wait_until("a call succeeds", LIMIT / 2, works).unwrap();
        cache
    });
    let one_is_left = || connections(&redis) <= 1;
    wait_until("all connections but one are closed", LIMIT, one_is_left).unwrap();
    drop(left);
}
