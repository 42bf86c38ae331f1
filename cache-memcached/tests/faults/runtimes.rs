//! Runtimes that come and go under one handle.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use cache_core::Cache;
use test_servers::{Memcached, Proxy, Server as _, proxy::Direction, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::{
    load::{Age, Load},
    support::{PATIENT, at, cache, cache_through, is_outage, keys, report},
};

const LIMIT: Duration = Duration::from_secs(30);

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

fn wait_for(proxy: &Proxy, count: usize) {
    wait_until("so many connections", LIMIT, || proxy.open() == count).unwrap();
}

fn answers(cache: &Cache) -> impl Future<Output = ()> + Send + 'static {
    let cache = cache.strict();
    async move {
        cache.set("k", &"value", None).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
        cache.incr_or("n", 1, 0, None).await.unwrap();
    }
}

/// A runtime ends with calls under way: the same handle works in the next one, and the connections of the first are closed.
#[test]
fn a_handle_outlives_its_runtime() {
    let server = Memcached::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through(&proxy, PATIENT);
    for round in 0..3 {
        let first = runtime(2);
        let load = first.block_on(async {
            let load = Load::start(&cache, keys("k", 32), Age::Latest);
            // The calls are under way when it ends.
            answers(&cache).await;
            load
        });
        if round == 1 {
            // Nobody is answered for a while: those who wait are dropped.
            proxy.delay(Duration::from_millis(300));
        }
        wait_until("calls are under way", LIMIT, || load.seen().tried("set") > 0).unwrap();
        first.shutdown_background();
        proxy.pass();
        let began = Instant::now();
        runtime(1).block_on(answers(&cache));
        report("the runtime of a call is gone", "the next one connects anew", began.elapsed());
        wait_for(&proxy, 0);
        report("the runtime is gone", "its connections are closed", began.elapsed());
    }
}

/// A runtime that is not driven any more, in the middle of a call, keeps nobody else from theirs: neither their calls nor `clear`.
#[test]
fn a_call_that_stands_still_with_its_runtime_blocks_nobody() {
    let server = Memcached::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through(&proxy, PATIENT);
    let still = Builder::new_current_thread().enable_all().build().unwrap();
    let (say, said) = mpsc::channel();
    proxy.swallow(Direction::ToServer);
    still.block_on(async {
        let cache = cache.clone();
        // Its first question is for the generation.
        let call = tokio::spawn(async move { cache.get::<i32>("k").await });
        while proxy.accepted() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!call.is_finished());
    });
    proxy.pass();
    // Apart: a thread that is stuck cannot say so.
    thread::spawn({
        let cache = cache.clone();
        move || {
            runtime(1).block_on(async {
                answers(&cache).await;
                cache.clear().await.unwrap();
                answers(&cache).await;
            });
            say.send(()).unwrap();
        }
    });
    let began = Instant::now();
    assert_eq!(said.recv_timeout(LIMIT / 3), Ok(()), "they are stuck");
    report("a runtime stands still in a call", "the others answer", began.elapsed());
    drop(still);
    wait_for(&proxy, 0);
}

/// Calls that begin while their runtime ends fail, or are dropped; nobody who calls later is stuck because of them.
#[test]
fn calls_in_a_runtime_that_ends_block_nobody() {
    const ROUNDS: usize = 60;
    let server = Memcached::start().unwrap();
    let cache = cache(&[at(&server)], PATIENT);
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
    report(&format!("{ROUNDS} runtimes end under load"), "the next one works", began.elapsed());
}

/// Each runtime has connections of its own, and they end with it; also those of the thread behind `blocking()`.
#[test]
fn each_runtime_has_its_own_connections() {
    let server = Memcached::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through(&proxy, PATIENT);
    let (one, other) = (runtime(1), runtime(1));
    for it in [&one, &other, &one] {
        it.block_on(answers(&cache));
    }
    wait_for(&proxy, 2);
    let blocking = cache.strict().blocking();
    assert!(blocking.incr_or("blocking", 1, 0, None).unwrap() > 0);
    wait_for(&proxy, 3);
    drop(one);
    wait_for(&proxy, 2);
    drop(other);
    wait_for(&proxy, 1);
    // In a third runtime, beside that of `blocking()`.
    runtime(1).block_on(answers(&cache));
    wait_for(&proxy, 1);
    server.kill();
    assert!(is_outage(&blocking.incr("blocking", 1).unwrap_err()));
    server.restart().unwrap();
    wait_until("it works", LIMIT, || blocking.set("k", &1, None).is_ok()).unwrap();
    assert_eq!(blocking.get::<i32>("k").unwrap(), Some(1));
}

/// A runtime with one thread that is idle sees nothing, so it may be the call that finds the connection gone: it fails, the next
/// works.
#[test]
fn a_runtime_that_was_not_driven_recovers_too() {
    let server = Memcached::start().unwrap();
    let cache = cache(&[at(&server)], PATIENT);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(answers(&cache));
    server.kill();
    server.restart().unwrap();
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
