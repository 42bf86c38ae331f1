//! Concurrent callers of one key share one load, however the load ends.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{ErrorKind, Timeout, layer::Operation, secs, testing::Fault};
use tokio::sync::{Barrier, oneshot};

use crate::{Source, run_tasks, spawn_load, world};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_callers_share_one_load() {
    for round in 0..100 {
        let (_, cache, _) = world();
        let loads = Arc::new(AtomicUsize::new(0));
        let barrier = Arc::new(Barrier::new(16));
        let callers: Vec<_> = (0..16)
            .map(|n| {
                let (cache, loads, barrier) =
                    (cache.clone(), Arc::clone(&loads), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    cache
                        .get_or_set("k", secs(60), || async {
                            loads.fetch_add(1, SeqCst);
                            tokio::task::yield_now().await;
                            n
                        })
                        .await
                })
            })
            .collect();
        let mut values = Vec::new();
        for caller in callers {
            values.push(caller.await.unwrap().unwrap());
        }
        assert_eq!(loads.load(SeqCst), 1, "round {round}");
        assert!(values.iter().all(|it| *it == values[0]), "{values:?}");
        assert_eq!(cache.stats().active_loads, 0);
    }
}

#[tokio::test]
async fn loader_error_reaches_all_waiters_and_stores_nothing() {
    let (_, cache, _) = world();
    let (fail, failed) = oneshot::channel::<()>();
    let leader = {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache
                .get_or_try_set::<u32, _, _>("k", secs(60), || async {
                    let _ = failed.await;
                    Err(io::Error::other("db down"))
                })
                .await
        })
    };
    run_tasks().await;
    let source = Source::default();
    let waiters: Vec<_> = (0..3).map(|_| spawn_load(&cache, &source, 1)).collect();
    run_tasks().await;
    fail.send(()).unwrap();
    for caller in [leader].into_iter().chain(waiters) {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Loader);
        assert_eq!(error.loader::<io::Error>().unwrap().to_string(), "db down");
        assert_eq!(error.context("alias"), Some("test"));
    }
    assert_eq!(source.count(), 0, "a waiter loaded again");
    assert!(!cache.has_key("k").await.unwrap());
    assert_eq!(
        cache.get_or_set("k", secs(60), || async { 2 }).await.unwrap(),
        2,
        "the next caller loads"
    );
}

#[tokio::test]
async fn next_caller_loads_when_the_loading_caller_is_dropped() {
    let (_, cache, _) = world();
    let (first, second) = (Source::default(), Source::default());
    let leader = spawn_load(&cache, &first, 1);
    first.began.notified().await;
    let waiters: Vec<_> = (0..3).map(|_| spawn_load(&cache, &second, 2)).collect();
    run_tasks().await;
    leader.abort();
    second.began.notified().await;
    second.go_on.notify_one();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), 2);
    }
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[tokio::test]
async fn next_caller_loads_when_the_loader_panics() {
    let (_, cache, _) = world();
    let (panic, panicked) = oneshot::channel::<()>();
    let leader = {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache
                .get_or_set::<u32, _>("k", secs(60), || async {
                    let _ = panicked.await;
                    panic!("the loader panics, as the test wants")
                })
                .await
        })
    };
    run_tasks().await;
    let source = Source::default();
    let waiter = spawn_load(&cache, &source, 2);
    run_tasks().await;
    panic.send(()).unwrap();
    source.go_on.notify_one();
    assert_eq!(waiter.await.unwrap().unwrap(), 2);
    assert!(leader.await.unwrap_err().is_panic());
    assert_eq!(cache.stats().active_loads, 0);
}

#[tokio::test]
async fn waiters_take_over_after_the_load_deadline() {
    let (_, cache, time) = world();
    let stuck = {
        let cache = cache.clone();
        tokio::spawn(
            async move { cache.get_or_set::<u32, _>("k", Timeout::Default, pending).await },
        )
    };
    run_tasks().await;
    let source = Source::default();
    let first = spawn_load(&cache, &source, 2);
    run_tasks().await;
    time.advance(Duration::from_secs(10));
    // This caller came later, so it may wait longer: for the caller that takes over.
    let second = spawn_load(&cache, &source, 3);
    run_tasks().await;
    assert_eq!(source.count(), 0, "30 s have not passed");
    time.advance(Duration::from_secs(20));
    source.began.notified().await;
    source.go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), 2);
    assert_eq!(second.await.unwrap().unwrap(), 2);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2));
    stuck.abort();
}

#[tokio::test]
async fn callers_of_different_types_each_get_their_type() {
    let (_, cache, _) = world();
    let source = Source::default();
    let number = spawn_load(&cache, &source, 7);
    source.began.notified().await;
    let text = {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache.get_or_set("k", Timeout::Default, || async { "seven".to_owned() }).await
        })
    };
    run_tasks().await;
    source.go_on.notify_one();
    assert_eq!(number.await.unwrap().unwrap(), 7);
    assert_eq!(text.await.unwrap().unwrap(), "seven");
}

#[tokio::test]
async fn concurrent_callers_share_one_load_while_the_store_is_down() {
    let (store, cache, _) = world();
    store.inject(|_| Fault::Error(ErrorKind::TimedOut));
    let source = Source::default();
    let callers: Vec<_> = (0..8).map(|_| spawn_load(&cache, &source, 7)).collect();
    source.began.notified().await;
    run_tasks().await;
    source.go_on.notify_one();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 7);
    }
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn loaded_value_that_does_not_serialise_is_an_error() {
    let (_, cache, _) = world();
    let bad = std::collections::HashMap::from([((1, 2), 3)]);
    let error = cache.get_or_set("k", Timeout::Default, || async { bad }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(cache.stats().active_loads, 0);
}

#[tokio::test]
async fn load_is_active_once_while_its_value_is_stored() {
    let (store, cache, _) = world();
    let held = store.hold(Operation::Set);
    let load = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", Timeout::Default, || async { 1 }).await }
    });
    store.arrived(Operation::Set, 1).await;
    assert_eq!(cache.stats().active_loads, 1);
    held.release();
    assert_eq!(load.await.unwrap().unwrap(), 1);
    assert_eq!(cache.stats().active_loads, 0);
}
