//! How long callers wait, and how long loads last.

use std::{convert::Infallible, future::pending, time::Duration};

use cache_core::{ErrorKind, FetchOutcome, Staleness};

use crate::{MINUTE, SECOND, Source, run_tasks, value, world, world_with};

#[tokio::test]
async fn load_deadline_ends_the_loader_and_reaches_every_caller() {
    let (_, cache, time) = world();
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let hang = |_| pending::<Result<u32, Infallible>>();
                cache.fetch("k").load_deadline(5 * SECOND).load(hang).await
            })
        })
        .collect();
    run_tasks().await;
    time.advance(5 * SECOND);
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.message().contains("load deadline of 5s"), "{error}");
    }
    assert_eq!((cache.stats().loads, cache.stats().active_loads), (1, 0));
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 2);
}

#[tokio::test]
async fn caller_leaves_after_its_hard_timeout_and_the_load_goes_on() {
    let (_, cache, time) = world();
    let source = Source::default();
    let caller = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(7));
        async move { cache.fetch("k").hard_timeout(SECOND).outcome(load).await }
    });
    source.began.notified().await;
    run_tasks().await;
    time.advance(SECOND);
    let error = caller.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.message().contains("longer than 1s"), "{error}");
    assert_eq!(cache.stats().active_refreshes, 1, "the load goes on");
    source.go_on.notify_one();
    run_tasks().await;
    assert_eq!(cache.stats().active_refreshes, 0);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(7));
}

#[tokio::test]
async fn caller_with_a_stale_value_waits_for_its_soft_timeout() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let source = Source::default();
    let caller = |soft| {
        let (cache, load) = (cache.clone(), source.slow(2));
        tokio::spawn(async move { cache.fetch("k").soft_timeout(soft).outcome(load).await })
    };
    let (short, long) = (caller(SECOND), caller(2 * SECOND));
    source.began.notified().await;
    run_tasks().await;
    assert!(!short.is_finished());
    time.advance(SECOND);
    let stale = short.await.unwrap().unwrap();
    assert_eq!(stale.value, Some(1));
    let FetchOutcome::Stale { age, why: Staleness::Refreshing, .. } = stale.outcome else {
        panic!("{:?}", stale.outcome)
    };
    assert_eq!(age, Some(MINUTE));
    source.go_on.notify_one();
    let loaded = long.await.unwrap().unwrap();
    assert_eq!(loaded.value, Some(2));
    assert!(matches!(loaded.outcome, FetchOutcome::Loaded { took, .. } if took == SECOND));
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn hard_timeout_of_a_fetch_bounds_the_soft_timeout_of_the_alias() {
    let (_, cache, time) = world_with(|it| it.soft_timeout = Some((10 * SECOND).into()));
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let source = Source::default();
    let caller = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(2));
        async move { cache.fetch("k").hard_timeout(SECOND).outcome(load).await }
    });
    source.began.notified().await;
    run_tasks().await;
    time.advance(SECOND);
    run_tasks().await;
    assert!(caller.is_finished());
    assert_eq!(caller.await.unwrap().unwrap().value, Some(1));
}

#[tokio::test]
async fn no_caller_waits_longer_than_two_load_deadlines_for_loads_of_others() {
    let (_, cache, time) = world();
    // An inline loader that hangs, of a caller that is polled.
    let stuck = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set::<u32, _>("k", MINUTE, pending).await }
    });
    run_tasks().await;
    let waiter = tokio::spawn({
        let cache = cache.clone();
        async move { cache.fetch("k").load(value(2)).await }
    });
    run_tasks().await;
    time.advance(Duration::from_secs(30));
    assert_eq!(waiter.await.unwrap().unwrap(), 2, "it loads for itself");
    stuck.abort();
}

#[tokio::test]
async fn load_is_shared_with_get_or_set() {
    let (_, cache, _) = world();
    let source = Source::default();
    let fetch = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(7));
        async move { cache.fetch("k").outcome(load).await }
    });
    source.began.notified().await;
    let inline = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", MINUTE, || async { 8 }).await }
    });
    run_tasks().await;
    // The caller that began it leaves; the other one still waits.
    fetch.abort();
    run_tasks().await;
    source.go_on.notify_one();
    assert_eq!(inline.await.unwrap().unwrap(), 7);
}
