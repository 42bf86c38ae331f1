//! Tasks that bypass the cache.

use std::{collections::HashMap, io, panic};

use cache_core::{Bypass, Cache, ErrorKind, Timeout, testing::Faulty};

use crate::{MINUTE, Source, fails, run_tasks, value, world};

const ON: Bypass = Bypass::when(true);

/// Returns a cache that has a value for `k`, and whose store has had no call since.
async fn world_with_a_value() -> (Faulty, Cache) {
    let (store, cache, _) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    (store, cache)
}

#[tokio::test]
async fn calls_that_read_through_load_and_leave_the_store_alone() {
    let (store, cache) = world_with_a_value().await;
    let before = store.all_calls();
    let two = || async { 2 };
    let many = |_| async { HashMap::from([("k", 2), ("other", 3)]) };
    let keys = ["k", "other"];
    ON.scope(async {
        assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 2);
        assert_eq!(cache.fetch("k").force().load(value(2)).await.unwrap(), 2);
        assert_eq!(cache.get_or_set("k", MINUTE, two).await.unwrap(), 2);
        assert_eq!(cache.at_version(2).get_or_set("k", MINUTE, two).await.unwrap(), 2);
        let found = cache.get_or_set_many(keys, Timeout::Default, many).await.unwrap();
        assert_eq!(found, [("k", 2), ("other", 3)].into());
    })
    .await;
    assert_eq!((store.all_calls(), cache.stats().loads), (before, 5));
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(1));
    assert_eq!(cache.fetch("k").load(value(3)).await.unwrap(), 1, "after the scope");
}

#[tokio::test]
async fn calls_in_a_loader_are_bypassed_too() {
    let (_, cache) = world_with_a_value().await;
    let inner = cache.clone();
    let load = move |_| async move { inner.fetch("k").load(value(2)).await };
    assert_eq!(ON.scope(cache.fetch("outer").load(load)).await.unwrap(), 2);
}

#[tokio::test]
async fn load_of_a_bypassed_call_is_its_own() {
    let (_, cache) = world_with_a_value().await;
    let source = Source::default();
    let caller = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(2));
        async move { cache.fetch("new").outcome(load).await }
    });
    source.began.notified().await;
    assert_eq!(ON.scope(cache.fetch("new").load(value(3))).await.unwrap(), 3);
    source.go_on.notify_one();
    assert_eq!(caller.await.unwrap().unwrap().value, Some(2));
    assert_eq!(cache.get::<u32>("new").await.unwrap(), Some(2));
}

#[tokio::test]
async fn failed_load_of_a_bypassed_call_is_not_answered_from_the_store() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let error = ON.scope(cache.fetch("k").load(fails::<u32>())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    let fail = || async { Err::<u32, _>(io::Error::other("db down")) };
    let error = ON.scope(cache.get_or_try_set("k", MINUTE, fail)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    assert_eq!(cache.fetch("k").load(fails::<u32>()).await.unwrap(), 1, "no backoff began");
}

#[tokio::test]
async fn scope_does_not_reach_other_tasks_unless_it_is_carried() {
    let (_, cache) = world_with_a_value().await;
    let fetch = || {
        let cache = cache.clone();
        async move {
            tokio::task::yield_now().await;
            cache.fetch("k").load(value(2)).await.unwrap()
        }
    };
    // Both run on this thread, step by step.
    assert_eq!(tokio::join!(ON.scope(fetch()), fetch()), (2, 1));
    let (spawned, carried) = ON
        .scope(async { (tokio::spawn(fetch()), tokio::spawn(Bypass::current().scope(fetch()))) })
        .await;
    assert_eq!((spawned.await.unwrap(), carried.await.unwrap()), (1, 2));
    // An inner scope without a bypass does not end the outer one.
    assert_eq!(ON.scope(Bypass::when(false).scope(fetch())).await, 2);
    run_tasks().await;
}

#[test]
fn scope_ends_with_a_panic() {
    let code = || ON.scope_sync(|| panic::resume_unwind(Box::new("as the test wants")));
    panic::catch_unwind(code).unwrap_err();
    assert_eq!(Bypass::current(), Bypass::when(false));
}
