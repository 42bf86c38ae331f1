//! Runtimes that start and stop under one handle.

use std::{sync::mpsc, thread, time::Instant};

use cache_core::ErrorKind;
use fault_tests::{
    PATIENT, cache_on, report,
    runtimes::{LIMIT, calls_succeed, runtime},
};
use test_servers::{Memcached, Proxy, Server as _, proxy::Direction, wait_until};
use tokio::runtime::Builder;

use crate::support::{OnMemcached, cache_through};

fault_tests::runtimes!(OnMemcached);

/// A runtime that is not polled any more, in the middle of a call, does not block others: neither
/// their calls nor `clear`.
#[test]
fn unpolled_call_of_a_paused_runtime_does_not_block_others() {
    let server = Memcached::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through(&proxy, PATIENT);
    let still = Builder::new_current_thread().enable_all().build().unwrap();
    let (say, said) = mpsc::channel();
    proxy.swallow(Direction::ToServer);
    still.block_on(async {
        let cache = cache.clone();
        // Its first request reads the generation.
        let call = tokio::spawn(async move { cache.get::<i32>("k").await });
        while proxy.accepted() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!call.is_finished());
    });
    proxy.pass();
    // In a thread of its own, because a stuck thread could not report a failure.
    thread::spawn({
        let cache = cache.clone();
        move || {
            runtime(1).block_on(async {
                calls_succeed(&cache).await;
                cache.clear().await.unwrap();
                calls_succeed(&cache).await;
            });
            say.send(()).unwrap();
        }
    });
    let began = Instant::now();
    assert_eq!(said.recv_timeout(LIMIT / 3), Ok(()), "they are stuck");
    report("a runtime stands still in a call", "the others answer", began.elapsed());
    drop(still);
    wait_until("no connections", LIMIT, || proxy.open() == 0).unwrap();
}

/// "A network store that is called without a runtime or its timer is a typed error", and "nothing
/// else panics".
#[test]
fn runtime_without_sockets_is_an_error_with_the_reason() {
    let server = Memcached::start().unwrap();
    let cache = cache_on::<OnMemcached>(&server, PATIENT).strict();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let calls = async {
        [cache.get::<i32>("k").await.map(drop), cache.clear_store().await, cache.check().await]
    };
    for error in runtime.block_on(calls).map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Runtime, "{error}");
        assert!(error.message().contains("enable_io"), "{error}");
    }
}
