//! Runtimes that start and shut down while one handle is used.

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
    Connections, Harness, PATIENT, blocking_promises, cache_on, cache_through, connections_to,
    is_outage, keys,
    load::{Freshness, Load},
    report,
};

blocking_promises!($ runtimes:
    handle_works_after_its_runtime_shut_down,
    calls_in_a_runtime_that_shuts_down_block_no_other_call,
    each_runtime_has_its_own_connections,
    idle_current_thread_runtime_recovers_after_a_restart,
);

/// The machine may be slow.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Creates a multi-thread runtime.
pub fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Makes some calls, all of which must succeed.
pub fn calls_succeed(cache: &Cache) -> impl Future<Output = ()> + Send + 'static {
    let cache = cache.strict();
    async move {
        cache.set("k", &"value", Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
        cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap();
    }
}

fn connections(port: u16) -> BTreeSet<String> {
    connections_to(port, Connections::NotClosedByClient)
}

fn wait_for(port: u16, count: usize) {
    wait_until("the expected number of connections", LIMIT, || connections(port).len() == count)
        .unwrap();
}

/// A runtime shuts down during calls: the same handle works in the next runtime, and the
/// connections of the first are closed.
fn handle_works_after_its_runtime_shut_down<S: Harness>() {
    let server = S::start();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through::<S>(&proxy, PATIENT);
    let mut before = BTreeSet::new();
    for round in 0..3 {
        let first = runtime(2);
        let load = first.block_on(async {
            // Strict: a write that fails open leaves a pending delete, which is sent on a
            // connection of the library's own runtime.
            let load = Load::start(&cache.strict(), keys("k", 32), Freshness::Latest);
            // Calls are in progress when the runtime shuts down.
            calls_succeed(&cache).await;
            load
        });
        let own = connections(proxy.port());
        assert!(if S::SHARES_CONNECTIONS { own.len() == 1 } else { !own.is_empty() }, "{own:?}");
        assert!(own.is_disjoint(&before));
        if round == 1 {
            // Replies are delayed, so that waiting calls are dropped.
            proxy.delay(Duration::from_millis(300));
        }
        wait_until("calls are in progress", LIMIT, || load.seen().attempts("set") > 0).unwrap();
        first.shutdown_background();
        proxy.pass();
        let began = Instant::now();
        runtime(1).block_on(calls_succeed(&cache));
        report("the runtime of a call has shut down", "the next runtime connects", began.elapsed());
        wait_for(proxy.port(), 0);
        report("a runtime has shut down", "its connections are closed", began.elapsed());
        before = own;
    }
}

/// Calls that begin while their runtime shuts down fail or are dropped; no later call hangs because
/// of them.
fn calls_in_a_runtime_that_shuts_down_block_no_other_call<S: Harness>() {
    const ROUNDS: usize = 150;
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT);
    let (send, receive) = mpsc::channel();
    // On a separate thread: a thread that hangs cannot report it.
    thread::spawn({
        let cache = cache.clone();
        move || {
            for round in 0..ROUNDS {
                let short_lived = runtime(2);
                for _ in 0..8 {
                    let cache = cache.clone();
                    short_lived.spawn(async move {
                        loop {
                            let _ = cache.get::<String>("k").await;
                            tokio::task::yield_now().await;
                        }
                    });
                }
                short_lived.block_on(calls_succeed(&cache));
                short_lived.shutdown_background();
                runtime(1).block_on(calls_succeed(&cache));
                send.send(round).unwrap();
            }
        }
    });
    let began = Instant::now();
    for round in 0..ROUNDS {
        assert_eq!(receive.recv_timeout(LIMIT), Ok(round), "a call hangs");
    }
    wait_for(server.port(), 0);
    report(
        &format!("{ROUNDS} runtimes shut down under load"),
        "the next one works",
        began.elapsed(),
    );
}

/// Each runtime has its own connections, which are closed when it shuts down; also the runtime
/// behind `blocking()`.
fn each_runtime_has_its_own_connections<S: Harness>() {
    let server = S::start();
    let port = server.port();
    let cache = cache_on::<S>(&server, PATIENT);
    let (stop, stopped) = mpsc::channel::<()>();
    let threads: Vec<_> = [0, 1]
        .map(|_| {
            let cache = cache.clone();
            let (leave, leave_received) = mpsc::channel::<()>();
            let (send, receive) = mpsc::channel();
            let thread = thread::spawn(move || {
                let runtime = runtime(1);
                while leave_received.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    runtime.block_on(calls_succeed(&cache));
                    // The receiver exists only for the first message.
                    let _ = send.send(());
                }
            });
            receive.recv().unwrap();
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
    // In a third runtime, in addition to that of `blocking()`.
    runtime(1).block_on(calls_succeed(&cache));
    wait_for(port, 1);
    server.kill();
    let blocking = cache.strict().blocking();
    assert!(is_outage(&blocking.incr("blocking", 1).unwrap_err()));
    server.restart().unwrap();
    stop.send(()).unwrap();
    blocking_thread.join().unwrap();
    wait_until("calls succeed", LIMIT, || blocking.set("k", &1, Timeout::Default).is_ok()).unwrap();
    assert_eq!(blocking.get::<i32>("k").unwrap(), Some(1));
    if S::SHARES_CONNECTIONS {
        wait_for(port, 1);
    }
}

/// An idle current-thread runtime does not notice a close, so the next call may fail on the closed
/// connection; a later call succeeds.
fn idle_current_thread_runtime_recovers_after_a_restart<S: Harness>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(calls_succeed(&cache));
    server.kill();
    server.restart().unwrap();
    let began = Instant::now();
    let mut failed = 0;
    while runtime.block_on(cache.strict().set("k", &1, Timeout::Default)).is_err() {
        failed += 1;
        assert!(failed < 10);
    }
    let seen = format!("{failed} calls fail in a runtime that was idle meanwhile");
    report("restart while idle, current_thread", &seen, began.elapsed());
    runtime.block_on(calls_succeed(&cache));
}
