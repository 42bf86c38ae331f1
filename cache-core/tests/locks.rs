//! Locks over a store that may wait and fail, with a clock that the tests move. The conformance
//! suite checks what does not depend on faults.

#![allow(missing_docs)]

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache, ErrorKind,
    layer::Operation,
    store::{Backend as _, Inline},
    testing::{FakeClock, Fault, Faulty, Model},
};

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);
const KEY: &str = ":lock:own:1:job";

/// Returns a store with injected faults, a cache over it, and the clock of both.
fn world() -> (Faulty, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(store.clone()).clock(time.clock()).build("test").unwrap();
    (store, cache, time)
}

/// Lets the other tasks of a runtime with one thread run until they wait.
async fn run_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn renewed_lock_outlives_its_lease_until_it_is_released() {
    let (store, cache, time) = world();
    let lock = cache.lock("job", LEASE).renew().acquire().await.unwrap();
    for _ in 0..40 {
        run_tasks().await;
        time.advance(LEASE / 10);
    }
    run_tasks().await;
    assert!(!lock.is_lost());
    assert!(store.has(KEY).await.unwrap());
    assert!(lock.release().await.unwrap());
    let renewals = store.calls(Operation::Update);
    assert!(renewals >= 10, "{renewals} renewals in 4 leases");
    time.advance(LEASE);
    run_tasks().await;
    assert_eq!(store.calls(Operation::Update), renewals, "a released lock was renewed");
    assert!(!store.has(KEY).await.unwrap());
}

#[tokio::test]
async fn dropped_lock_is_renewed_no_more_and_released() {
    let (store, cache, time) = world();
    drop(cache.lock("job", LEASE).renew().acquire().await.unwrap());
    run_tasks().await;
    assert!(!store.has(KEY).await.unwrap());
    time.advance(LEASE);
    run_tasks().await;
    assert_eq!(store.calls(Operation::Update), 0);
}

#[tokio::test]
async fn owner_hears_that_its_lock_was_deleted() {
    let (store, cache, time) = world();
    let lock = cache.lock("job", LEASE).renew().acquire().await.unwrap();
    let lock = Arc::new(lock);
    let waiting = tokio::spawn({
        let lock = Arc::clone(&lock);
        async move { lock.lost().await }
    });
    run_tasks().await;
    assert!(!waiting.is_finished() && !lock.is_lost());
    assert!(store.delete(KEY).await.unwrap());
    time.advance(LEASE / 3);
    waiting.await.unwrap();
    assert!(lock.is_lost());
}

#[tokio::test]
async fn renewal_tries_again_while_the_store_fails_and_the_lease_lasts() {
    let (store, cache, time) = world();
    let lock = cache.lock("job", LEASE).renew().acquire().await.unwrap();
    run_tasks().await;
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for _ in 0..2 {
        time.advance(LEASE / 3);
        run_tasks().await;
    }
    assert!(!lock.is_lost());
    store.heal();
    time.advance(LEASE / 12);
    run_tasks().await;
    time.advance(LEASE / 2);
    run_tasks().await;
    assert!(!lock.is_lost(), "the first renewal after the outage extended the lock");

    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for _ in 0..12 {
        time.advance(LEASE / 12);
        run_tasks().await;
    }
    assert!(lock.is_lost(), "the lease ended during the outage");
    store.heal();
    time.advance(LEASE);
    run_tasks().await;
    assert!(lock.is_lost(), "a lost lock stays lost");
}

#[tokio::test]
async fn lock_fails_closed() {
    let (store, cache, _) = world();
    let lock = cache.lock("job", LEASE).acquire().await.unwrap();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let errors = [
        cache.try_lock("other", LEASE).await.unwrap_err(),
        cache.lock("other", LEASE).acquire().await.unwrap_err(),
        lock.extend(LEASE).await.unwrap_err(),
        lock.number().await.unwrap_err(),
        lock.release().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("operation: lock"), "{error}");
    }
}

#[tokio::test]
async fn lock_that_may_have_been_written_is_released() {
    let (store, cache, _) = world();
    // The store writes, and its reply is lost.
    store.inject(|call| match call.operation {
        Operation::Add => Fault::ErrorAfter(ErrorKind::TimedOut),
        _ => Fault::None,
    });
    let error = cache.try_lock("job", LEASE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    store.heal();
    run_tasks().await;
    assert!(!store.has(KEY).await.unwrap());
}

#[tokio::test]
async fn lock_of_a_dropped_acquire_is_released() {
    let (store, cache, _) = world();
    let held = store.hold(Operation::Add);
    let acquiring = tokio::spawn({
        let cache = cache.clone();
        async move { cache.try_lock("job", LEASE).await }
    });
    run_tasks().await;
    assert_eq!(store.calls(Operation::Add), 1);
    acquiring.abort();
    assert!(acquiring.await.unwrap_err().is_cancelled());
    held.release();
    run_tasks().await;
    assert_eq!(store.calls(Operation::CompareAndDelete), 1);
    assert!(!store.has(KEY).await.unwrap());
}

#[tokio::test]
async fn extension_that_failed_does_not_prolong_the_lock() {
    let (store, cache, time) = world();
    let lock = cache.lock("job", 10 * SECOND).acquire().await.unwrap();
    store.inject(|_| Fault::Error(ErrorKind::TimedOut));
    assert!(lock.extend(LEASE).await.is_err());
    store.heal();
    time.advance(10 * SECOND);
    assert!(lock.is_lost());
}

#[tokio::test]
async fn number_counted_after_the_lease_is_not_returned() {
    let (store, cache, time) = world();
    let lock = Arc::new(cache.lock("job", LEASE).acquire().await.unwrap());
    let held = store.hold(Operation::Incr);
    let counting = tokio::spawn({
        let lock = Arc::clone(&lock);
        async move { lock.number().await }
    });
    run_tasks().await;
    // The owner is paused, and its successor has the smaller number.
    time.advance(LEASE);
    held.release();
    assert_eq!(counting.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn number_of_a_lock_that_the_store_lost_is_not_returned() {
    let (store, cache, _) = world();
    let lock = cache.lock("job", LEASE).acquire().await.unwrap();
    assert!(store.delete(KEY).await.unwrap());
    let next = cache.lock("job", LEASE).acquire().await.unwrap();
    let number = next.number().await.unwrap();
    assert!(number.is_some());
    assert_eq!(lock.number().await.unwrap(), None, "larger than that of its successor");
    assert!(lock.is_lost());
    assert_eq!(next.number().await.unwrap(), number);
}

#[tokio::test]
async fn dropped_lock_is_released_if_it_was_extended_after_its_lease() {
    let time = FakeClock::new();
    // The clock of the store stands still.
    let store = Faulty::new(Arc::new(Inline::new(Model::default())));
    let cache = Cache::builder(store.clone()).clock(time.clock()).build("test").unwrap();
    let lock = Arc::new(cache.lock("job", LEASE).acquire().await.unwrap());
    let held = store.hold(Operation::Update);
    let extending = tokio::spawn({
        let lock = Arc::clone(&lock);
        async move { lock.extend(10 * LEASE).await }
    });
    run_tasks().await;
    time.advance(LEASE);
    held.release();
    // The deadline of the call may have passed, too.
    assert!(!matches!(extending.await.unwrap(), Ok(true)));
    assert!(lock.is_lost() && store.has(KEY).await.unwrap());
    drop(lock);
    run_tasks().await;
    assert!(!store.has(KEY).await.unwrap());
}

#[test]
fn blocking_lock_works_without_a_runtime() {
    let (_, cache, _) = world();
    let cache = cache.blocking();
    let lock = cache.lock("job", LEASE, |it| it.wait(SECOND).renew()).unwrap();
    assert!(cache.try_lock("job", LEASE).unwrap().is_none());
    assert!(lock.number().unwrap().is_some() && lock.extend(LEASE).unwrap());
    assert!(!lock.is_lost() && lock.release().unwrap());
    assert!(cache.try_lock("job", LEASE).unwrap().is_some());
}
