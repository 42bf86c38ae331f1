//! Runtimes that come and go under one handle.

use std::{
    collections::BTreeSet,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use cache_core::{Cache, Timeout};
use test_servers::{Proxy, Server, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Held, PATIENT, Stage, blocking_promises, cache_on, cache_through, connections_to, is_outage,
    keys,
    load::{Age, Load},
    report,
};

blocking_promises!($ runtimes:
    a_handle_outlives_its_runtime,
    calls_in_a_runtime_that_ends_block_nobody,
    each_runtime_has_its_own_connections,
    a_runtime_that_was_not_driven_recovers_too,
);

/// Slow machines are slow, not wrong.
pub const LIMIT: Duration = Duration::from_secs(30);

/// One with threads of its own.
pub fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Some calls, all of which are answered.
pub fn answers(cache: &Cache) -> impl Future<Output = ()> + Send + 'static {
    let cache = cache.strict();
    async move {
        cache.set("k", &"value", Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
        cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap();
    }
}

fn connections(port: u16) -> BTreeSet<String> {
    connections_to(port, Held::ByClient)
}

fn wait_for(port: u16, count: usize) {
    wait_until("so many connections", LIMIT, || connections(port).len() == count).unwrap();
}

/// A runtime ends with calls under way: the same handle works in the next one, and the connections of the first are closed.
fn a_handle_outlives_its_runtime<S: Stage>() {
    let server = S::start();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through::<S>(&proxy, PATIENT);
    let mut before = BTreeSet::new();
    for round in 0..3 {
        let first = runtime(2);
        let load = first.block_on(async {
            // Strict: writes that fail open are settled later, over a connection of the library's own runtime.
            let load = Load::start(&cache.strict(), keys("k", 32), Age::Latest);
            // The calls are under way when it ends.
            answers(&cache).await;
            load
        });
        let its = connections(proxy.port());
        assert!(if S::SHARES_CONNECTIONS { its.len() == 1 } else { !its.is_empty() }, "{its:?}");
        assert!(its.is_disjoint(&before));
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
        wait_for(proxy.port(), 0);
        report("the runtime is gone", "its connections are closed", began.elapsed());
        before = its;
    }
}

/// Calls that begin while their runtime ends fail, or are dropped; nobody who calls later is stuck because of them.
fn calls_in_a_runtime_that_ends_block_nobody<S: Stage>() {
    const ROUNDS: usize = 150;
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT);
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
    wait_for(server.port(), 0);
    report(&format!("{ROUNDS} runtimes end under load"), "the next one works", began.elapsed());
}

/// Each runtime has connections of its own, and they end with it; also those of the thread behind `blocking()`.
fn each_runtime_has_its_own_connections<S: Stage>() {
    let server = S::start();
    let port = server.port();
    let cache = cache_on::<S>(&server, PATIENT);
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
    let async_ones = connections(port);
    assert_eq!(async_ones.len(), 2);
    let blocking = cache.strict().blocking();
    assert!(blocking.incr_or("blocking", 1, 0, Timeout::Default).unwrap() > 0);
    let blocking_thread = thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            match blocking.incr_or("blocking", 1, 0, Timeout::Default) {
                Ok(it) => assert!(it > 0),
                Err(error) => assert!(is_outage(&error), "{error}"),
            }
        }
    });
    wait_for(port, 3);
    assert!(connections(port).is_superset(&async_ones));

    let mut left = 3;
    for (thread, leave) in threads {
        leave.send(()).unwrap();
        thread.join().unwrap();
        left -= 1;
        wait_for(port, left);
    }
    // In a third runtime, beside that of `blocking()`.
    runtime(1).block_on(answers(&cache));
    wait_for(port, 1);
    server.kill();
    let blocking = cache.strict().blocking();
    assert!(is_outage(&blocking.incr("blocking", 1).unwrap_err()));
    server.restart().unwrap();
    stop.send(()).unwrap();
    blocking_thread.join().unwrap();
    wait_until("it works", LIMIT, || blocking.set("k", &1, Timeout::Default).is_ok()).unwrap();
    assert_eq!(blocking.get::<i32>("k").unwrap(), Some(1));
    if S::SHARES_CONNECTIONS {
        wait_for(port, 1);
    }
}

/// A runtime with one thread that is idle sees nothing, so it may be the call that finds the connection gone: it fails, the next
/// works.
fn a_runtime_that_was_not_driven_recovers_too<S: Stage>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(answers(&cache));
    server.kill();
    server.restart().unwrap();
    let began = Instant::now();
    let mut failed = 0;
    while runtime.block_on(cache.strict().set("k", &1, Timeout::Default)).is_err() {
        failed += 1;
        assert!(failed < 10);
    }
    let seen = format!("{failed} calls fail in a runtime that was not driven meanwhile");
    report("restart while idle, current_thread", &seen, began.elapsed());
    runtime.block_on(answers(&cache));
}
