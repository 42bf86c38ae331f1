//! Mistakes that several cache libraries made. Those of stores are in the conformance suite, the
//! flight that is removed by its key in `invariants`, and the lock without a lifetime in
//! `refreshes`.

use std::{future::ready, io, time::SystemTime};

use cache_core::{
    ErrorKind, FetchOutcome, Loaded, Timeout,
    layer::{BreakerState, Operation},
    store::{Backend as _, Expiry, SetMode},
};

use crate::{MINUTE, SECOND, Source, fails, run_tasks, value, world, world_with};

/// A trap: each waiter runs into the leader's error again, one load after the other.
#[tokio::test]
async fn error_of_a_load_reaches_its_waiters_without_another_load() {
    let (_, cache, _) = world();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.fetch("k").load(fails::<u32>()).await })
        })
        .collect();
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.loader::<io::Error>().unwrap().to_string(), "db down");
    }
    assert_eq!((cache.stats().loads, cache.stats().active_loads), (1, 0));
}

/// A trap: a deploy that changes a type opens the breaker of a healthy server.
#[tokio::test]
async fn values_that_do_not_serialize_or_decode_leave_the_breaker_closed() {
    let (_, cache, _) = world();
    for n in 0..50 {
        let key = format!("k{n}");
        cache.set(&key, "text", Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<u32>(&key).await.unwrap(), None);
        let unreadable = cache.strict().get::<u32>(&key).await.unwrap_err();
        let unwritable = cache.set(&key, &f64::NAN, Timeout::Default).await.unwrap_err();
        let load = |_| ready(Ok::<_, io::Error>(f64::NAN));
        let unloadable = cache.fetch(&key).force().load(load).await.unwrap_err();
        for error in [unreadable, unwritable, unloadable] {
            assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
        }
    }
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

/// A trap: the wall clock steps back, and values are fresh for as long again.
#[tokio::test]
async fn wall_clock_that_steps_back_prolongs_neither_freshness_nor_grace() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(30 * SECOND);
    time.set_wall(SystemTime::UNIX_EPOCH);
    let load = |_| ready(Ok::<_, io::Error>(Loaded::Value(2)));
    let hit = cache.fetch("k").outcome(load).await.unwrap();
    assert!(matches!(hit.outcome, FetchOutcome::Hit { .. }), "{hit:?}");
    time.advance(30 * SECOND);
    let stale = cache.fetch("k").outcome(load).await.unwrap();
    let FetchOutcome::Stale { age, .. } = stale.outcome else { panic!("{stale:?}") };
    assert_eq!(age, Some(MINUTE));
    run_tasks().await;
    assert_eq!(cache.fetch("k").load(value(3)).await.unwrap(), 2);
}

/// A trap: a claim on a key that is lost with the caller that made it.
#[tokio::test]
async fn callers_that_are_dropped_anywhere_leave_no_load_behind() {
    let (_, cache, time) = world();
    for steps in 0..20 {
        let source = Source::default();
        let caller = tokio::spawn({
            let (cache, load) = (cache.clone(), source.slow(1));
            async move { cache.fetch("k").outcome(load).await }
        });
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        caller.abort();
        run_tasks().await;
        assert_eq!(cache.stats().active_loads, 0, "after {steps} steps");
    }
    cache.fetch("k").prime(&1).await.unwrap();
    for steps in 0..20 {
        time.advance(MINUTE);
        let source = Source::default();
        let caller = tokio::spawn({
            let (cache, load) = (cache.clone(), source.slow(2));
            async move { cache.fetch("k").soft_timeout(SECOND).outcome(load).await }
        });
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        caller.abort();
        source.go_on.notify_one();
        run_tasks().await;
        let stats = cache.stats();
        assert_eq!((stats.active_loads, stats.active_refreshes), (0, 0), "after {steps} steps");
    }
}

/// A trap: a move between versions takes the lease of a load for a value.
#[tokio::test]
async fn lease_that_replaced_the_value_is_not_moved_to_another_version() {
    let (store, cache, _) = world_with(|it| it.fenced = Some(true));
    let source = Source::default();
    let load = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(7));
        async move { cache.fetch("other").outcome(load).await }
    });
    source.began.notified().await;
    let lease = store.get(":1:other").await.unwrap().unwrap();

    cache.set("k", &1, MINUTE).await.unwrap();
    let held = store.hold(Operation::IncrVersion);
    let moving = tokio::spawn({
        let cache = cache.clone();
        async move { cache.incr_version("k", 1).await }
    });
    store.arrived(Operation::IncrVersion, 1).await;
    // As another process that deletes the key and loads it.
    store.set(":1:k", lease, Expiry::After(MINUTE), SetMode::Always).await.unwrap();
    held.release();
    assert_eq!(moving.await.unwrap().unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(store.get(":2:k").await.unwrap(), None);
    source.go_on.notify_one();
    assert_eq!(load.await.unwrap().unwrap().value, Some(7));
}
