//! Runtimes that come and go under one handle.

use std::{
    collections::BTreeSet,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use cache_core::{Cache, ErrorKind, secs};
use test_servers::{Redis, Server as _, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::{
    load::{Age, Load},
    support::{NO_BREAKER, cache, is_outage, keys, report},
};

const LIMIT: Duration = Duration::from_secs(30);
/// Slow machines are slow, not wrong.
const NAMED: &str = "deadline = \"20s\"\n[caches.default.options]\nclient_name = \"under-test\"\n";

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// The connections of the cache, by their numbers at the server.
fn connections(redis: &Redis) -> BTreeSet<String> {
    let list = redis.command(&["CLIENT", "LIST"]).unwrap().text();
    let ours = list.lines().filter(|it| it.contains("name=under-test"));
    ours.filter_map(|it| Some(it.split(' ').next()?.to_owned())).collect()
}

fn wait_for(redis: &Redis, count: usize) {
    wait_until("so many connections", LIMIT, || connections(redis).len() == count).unwrap();
}

fn answers(cache: &Cache) -> impl Future<Output = ()> + Send + 'static {
    let cache = cache.strict();
    async move {
        cache.set("k", &"value", None).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
        cache.incr_or("n", 1, 0, None).await.unwrap();
    }
}

/// What a closure answers. It has a thread of its own: one that is stuck could not say so.
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (say, said) = mpsc::channel();
    thread::spawn(move || say.send(what()));
    said.recv_timeout(LIMIT).expect("it has panicked, or is stuck")
}

/// A runtime ends with calls under way: the same handle works in the next one, and the connections of the first are closed.
#[test]
fn a_handle_outlives_its_runtime() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED);
    let mut before = BTreeSet::new();
    for round in 0..3 {
        let first = runtime(2);
        let load = first.block_on(async {
            let load = Load::start(&cache, keys("k", 32), Age::Latest);
            // The calls are under way when it ends.
            answers(&cache).await;
            load
        });
        let its = connections(&redis);
        assert_eq!(its.len(), 1);
        assert!(its.is_disjoint(&before));
        if round == 1 {
            // The server answers nobody for a while: those who wait for it are dropped.
            redis.command(&["CLIENT", "PAUSE", "300", "ALL"]).unwrap();
            wait_until("calls are under way", LIMIT, || load.seen().tried("incr") > 0).unwrap();
        }
        first.shutdown_background();
        let began = Instant::now();
        runtime(1).block_on(answers(&cache));
        report("the runtime of a call is gone", "the next one connects anew", began.elapsed());
        wait_for(&redis, 0);
        report("the runtime is gone", "its connections are closed", began.elapsed());
        before = its;
    }
}

/// Calls that begin while their runtime ends fail, or are dropped; nobody who calls later is stuck because of them.
#[test]
fn calls_in_a_runtime_that_ends_block_nobody() {
    const ROUNDS: usize = 150;
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED);
    let (say, said) = mpsc::channel();
    // Apart: a thread that is stuck cannot say so.
    thread::spawn({
        let cache = cache.clone();
        move || {
            for round in 0..ROUNDS {
                let ending = runtime(2);
                for _ in 0..8 {
                    let cache = cache.clone();
                    ending.spawn(async move {
                        loop {
                            let _ = cache.get::<String>("k").await;
                            tokio::task::yield_now().await;
                        }
                    });
                }
                ending.block_on(answers(&cache));
                ending.shutdown_background();
                runtime(1).block_on(answers(&cache));
                say.send(round).unwrap();
            }
        }
    });
    let began = Instant::now();
    for round in 0..ROUNDS {
        assert_eq!(said.recv_timeout(LIMIT), Ok(round), "a call is stuck");
    }
    wait_for(&redis, 0);
    report(&format!("{ROUNDS} runtimes end under load"), "the next one works", began.elapsed());
}

/// Each runtime has connections of its own, and they end with it; also those of the thread behind `blocking()`.
#[test]
fn each_runtime_has_its_own_connections() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED);
    let (stop, stopped) = mpsc::channel::<()>();
    let threads: Vec<_> = [0, 1]
        .map(|_| {
            let cache = cache.clone();
            let (leave, left) = mpsc::channel::<()>();
            let (say, said) = mpsc::channel();
            let thread = thread::spawn(move || {
                let runtime = runtime(1);
                while left.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    runtime.block_on(answers(&cache));
                    // Only the first time is somebody listening.
                    let _ = say.send(());
                }
            });
            said.recv().unwrap();
            (thread, leave)
        })
        .into();
    let async_ones = connections(&redis);
    assert_eq!(async_ones.len(), 2);
    let blocking = cache.strict().blocking();
    let blocking_thread = thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            match blocking.incr_or("blocking", 1, 0, None) {
                Ok(it) => assert!(it > 0),
                Err(error) => assert!(is_outage(&error), "{error}"),
            }
        }
    });
    wait_for(&redis, 3);
    assert!(connections(&redis).is_superset(&async_ones));

    let mut left = 3;
    for (thread, leave) in threads {
        leave.send(()).unwrap();
        thread.join().unwrap();
        left -= 1;
        wait_for(&redis, left);
    }
    // In a third runtime, beside that of `blocking()`.
    runtime(1).block_on(answers(&cache));
    wait_for(&redis, 1);
    redis.kill();
    redis.restart().unwrap();
    stop.send(()).unwrap();
    blocking_thread.join().unwrap();
    let blocking = cache.strict().blocking();
    wait_until("it works", LIMIT, || blocking.set("k", &1, None).is_ok()).unwrap();
    assert_eq!(blocking.get::<i32>("k").unwrap(), Some(1));
    wait_for(&redis, 1);
}

/// A runtime with one thread that is idle sees nothing, so it is the call that finds the connection gone: it fails, the next works.
#[test]
fn a_runtime_that_was_not_driven_recovers_too() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(answers(&cache));
    redis.kill();
    redis.restart().unwrap();
    let began = Instant::now();
    let mut failed = 0;
    while runtime.block_on(cache.strict().set("k", &1, None)).is_err() {
        failed += 1;
        assert!(failed < 10);
    }
    let seen = format!("{failed} calls fail in a runtime that was not driven meanwhile");
    report("restart while idle, current_thread", &seen, began.elapsed());
    runtime.block_on(answers(&cache));
}

/// Who makes the first call in a runtime that has ended is told so at once, and locks nobody else out of the cache.
#[test]
fn a_first_call_in_a_runtime_that_has_ended_locks_nobody_out() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED).strict();
    let late = cache.clone();
    let res = in_time(move || {
        let ended = runtime(2);
        let handle = ended.handle().clone();
        drop(ended);
        handle.block_on(late.get::<i32>("k")).map_err(|it| it.kind())
    });
    assert_eq!(res, Err(ErrorKind::Unavailable));
    in_time(move || runtime(2).block_on(answers(&cache)));
}

/// The same as it happens in a service: a worker makes its first call while its runtime is stopped.
#[test]
fn a_first_call_while_its_runtime_is_stopped_locks_nobody_out() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED).strict();
    let stopping = runtime(2);
    let (begin, begun) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let task = cache.clone();
    stopping.spawn(async move {
        begin.send(()).unwrap();
        // In the middle of a poll: what a runtime that is stopped waits for.
        stopped.recv().unwrap();
        let _ = task.get::<i32>("k").await;
        drop(begin);
    });
    begun.recv().unwrap();
    stopping.shutdown_background();
    stop.send(()).unwrap();
    // However the task ends, its sender ends with it.
    let end = begun.recv_timeout(LIMIT);
    assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "the call is stuck");
    in_time(move || runtime(2).block_on(answers(&cache)));
}

/// "A network store that is called without a runtime or its timer is a typed error", and "nothing else panics".
#[test]
fn a_runtime_without_sockets_is_an_error_that_says_so() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], NAMED).strict();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(cache.get::<i32>("k")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.message().contains("enable_io"), "{error}");
}

/// Sets and gets keys of its own in one runtime after the other, each with tasks that are under way when it ends; in how many
/// runtimes that went well.
fn come_and_go(cache: &Cache, name: usize, until: Instant) -> u32 {
    let mut rounds = 0;
    while Instant::now() < until {
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
            // sleeps: the tasks are given time to be in the middle of something
            tokio::time::sleep(Duration::from_millis(20)).await;
            cache.set("own", "x", secs(60)).await.is_ok()
        });
        rounds += u32::from(works);
    }
    rounds
}

/// Runtimes that come and go while others close the cache all the time: nobody hangs, nobody gets another's value, and no connection
/// is left behind.
#[test]
fn runtimes_come_and_go_while_others_close() {
    let redis = Redis::start().unwrap();
    let more = format!("{NO_BREAKER}[caches.default.options]\nclient_name = \"under-test\"\n");
    let cache = cache(&[redis.url()], &more).strict();
    let until = Instant::now() + Duration::from_secs(3);
    let (left, rounds) = in_time(move || {
        let work = |name| {
            let cache = cache.clone();
            thread::spawn(move || come_and_go(&cache, name, until))
        };
        let workers = [0, 1, 2].map(work);
        while Instant::now() < until {
            cache.blocking().close().unwrap();
            // sleeps: closed without a pause, no connection would live to be used
            thread::sleep(Duration::from_millis(3));
        }
        let rounds = workers.map(|it| it.join().unwrap());
        cache.blocking().close().unwrap();
        cache.blocking().get::<String>("own").unwrap();
        (cache, rounds)
    });
    assert!(rounds.iter().all(|it| *it > 3), "{rounds:?}");
    let one_is_left = || connections(&redis).len() <= 1;
    wait_until("all connections but one are closed", LIMIT, one_is_left).unwrap();
    drop(left);
}
