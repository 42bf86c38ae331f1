//! The invariants of the design, each forced in the order of events that would break it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use cache_core::layer::Operation;

use crate::{MINUTE, SECOND, Source, run_tasks, value, world};

/// I1: at most one loader per process, key and generation.
#[tokio::test]
async fn i1_loaders_of_one_generation_do_not_overlap() {
    let (_, cache, time) = world();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for round in 0..20 {
        let callers: Vec<_> = (0..16)
            .map(|n| {
                let (cache, running, most) =
                    (cache.clone(), Arc::clone(&running), Arc::clone(&most));
                tokio::spawn(async move {
                    let load = move |_| async move {
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        for _ in 0..n {
                            tokio::task::yield_now().await;
                        }
                        running.fetch_sub(1, SeqCst);
                        if n % 5 == 0 { Err(io::Error::other("no")) } else { Ok(n) }
                    };
                    cache.fetch("k").load(load).await.is_ok()
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        run_tasks().await;
        // Every second round begins with a stale value, every other with none.
        if round % 2 == 0 {
            time.advance(MINUTE);
        } else {
            cache.delete("k").await.unwrap();
        }
    }
    assert_eq!((most.load(SeqCst), running.load(SeqCst)), (1, 0));
}

/// I2: after a delete returned, no read returns an older value. The write of the loaded value is on
/// its way when the delete begins.
#[tokio::test]
async fn i2_delete_waits_for_the_write_of_a_loaded_value() {
    let (store, cache, _) = world();
    let held = store.hold(Operation::Set);
    let load = tokio::spawn({
        let cache = cache.clone();
        async move { cache.fetch("k").load(value(1)).await }
    });
    store.arrived(Operation::Set, 1).await;
    let delete = tokio::spawn({
        let cache = cache.clone();
        async move { cache.delete("k").await }
    });
    run_tasks().await;
    assert!(!delete.is_finished(), "the delete overtook the write");
    held.release();
    assert!(delete.await.unwrap().unwrap());
    assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
    assert_eq!(load.await.unwrap().unwrap(), 1);
}

/// I2: the refresh of a stale value ends after the delete.
#[tokio::test]
async fn i2_refresh_that_ends_after_a_delete_stores_nothing() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let source = Source::default();
    let fetch = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(2));
        async move { cache.fetch("k").soft_timeout(SECOND).outcome(load).await }
    });
    source.began.notified().await;
    assert!(cache.delete("k").await.unwrap());
    source.go_on.notify_one();
    assert_eq!(fetch.await.unwrap().unwrap().value, Some(2), "the caller that waited");
    run_tasks().await;
    assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
    assert_eq!(cache.stats().active_refreshes, 0);
}

/// I3: no caller waits longer than its hard timeout, also while the store hangs in its write.
#[tokio::test]
async fn i3_hard_timeout_bounds_the_wait_for_a_slow_write() {
    let (store, cache, time) = world();
    let held = store.hold(Operation::Set);
    let fetch = tokio::spawn({
        let cache = cache.clone();
        async move { cache.fetch("k").hard_timeout(SECOND).load(value(1)).await }
    });
    store.arrived(Operation::Set, 1).await;
    run_tasks().await;
    time.advance(SECOND);
    fetch.await.unwrap().unwrap_err();
    held.release();
    run_tasks().await;
    assert_eq!(cache.stats().active_loads, 0);
}

/// I4: no flight remains when its runtime ends in the middle of a load.
#[test]
fn i4_flight_of_a_runtime_that_ended_is_freed() {
    let (_, cache, _) = world();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let source = Source::default();
    runtime.block_on(async {
        let (cache, load) = (cache.clone(), source.slow(1));
        drop(tokio::spawn(async move { cache.fetch("k").outcome(load).await }));
        source.began.notified().await;
        assert_eq!(source.count(), 1);
    });
    assert_eq!(cache.stats().active_loads, 1);
    drop(runtime);
    assert_eq!(cache.stats().active_loads, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(cache.fetch("k").load(value(2))).unwrap(), 2);
}

/// A trap: a flight that is removed by its key would remove its successor.
#[tokio::test]
async fn flight_that_ends_late_does_not_remove_its_successor() {
    let (_, cache, _) = world();
    let (first, second, third) = (Source::default(), Source::default(), Source::default());
    let spawn = |source: &Source, n| {
        let (cache, load) = (cache.clone(), source.slow(n));
        tokio::spawn(async move { cache.fetch("k").outcome(load).await })
    };
    let one = spawn(&first, 1);
    first.began.notified().await;
    cache.delete("k").await.unwrap();
    let two = spawn(&second, 2);
    second.began.notified().await;
    first.go_on.notify_one();
    assert_eq!(one.await.unwrap().unwrap().value, Some(1));
    // The second flight is still there: a third caller joins it.
    let three = spawn(&third, 3);
    run_tasks().await;
    second.go_on.notify_one();
    assert_eq!(two.await.unwrap().unwrap().value, Some(2));
    assert_eq!(three.await.unwrap().unwrap().value, Some(2));
    assert_eq!(third.count(), 0);
}

/// Loads that wait for each other get an error that names the keys, although each is a task.
#[tokio::test]
async fn fetches_that_wait_for_each_other_are_an_error() {
    let (_, cache, _) = world();
    let inner = cache.clone();
    let load = move |_| async move {
        let innermost = inner.clone();
        let load = move |_| async move { innermost.fetch("a").load(value(1)).await };
        inner.fetch("b").load(load).await
    };
    let error = cache.fetch("a").load(load).await.unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(it) = source {
        text += &it.to_string();
        source = it.source();
    }
    assert!(text.contains(":1:a") && text.contains(":1:b"), "{text}");
    assert_eq!(cache.stats().active_loads, 0);
}
