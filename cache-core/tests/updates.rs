//! Concurrent calls of `update` for one key.

#![allow(missing_docs)]

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, Timeout,
    layer::{BreakerSettings, BreakerState, Operation},
    secs,
    store::{Backend as _, Expiry, Inline, Offload, SetMode},
    testing::{FakeClock, Faulty, Held, Model},
};
use tokio::task::JoinHandle;

/// One update runs at a time, so each reads and writes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_updates_of_one_key_run_one_after_the_other() {
    let store = Faulty::new(Arc::new(Offload::new(Model::default(), 4)));
    let builder = Cache::builder(Arc::new(store.clone()));
    let cache = builder.deadline(Duration::from_secs(60)).build("test").unwrap();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let callers: Vec<_> = (0..300)
        .map(|n| {
            let cache = if n % 2 == 0 { cache.clone() } else { cache.strict() };
            tokio::spawn(async move { cache.update("n", Timeout::Default, |it: u32| it + 1).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().unwrap().is_some());
    }
    assert_eq!(cache.get::<u32>("n").await.unwrap(), Some(300));
    assert_eq!(store.calls(Operation::Update), 300, "there were conflicts");
}

fn timed() -> (FakeClock, Faulty, Cache) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build("test").unwrap();
    (time, store, cache)
}

#[tokio::test]
async fn update_without_a_turn_within_the_deadline_times_out() {
    let (time, store, cache) = timed();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let held = store.hold(Operation::Update);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.update("n", secs(60), |it: u32| it + 1).await })
        })
        .collect();
    store.arrived(Operation::Update, 1).await;
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.calls(Operation::Update), 1);
    time.advance(Duration::from_millis(500));
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
    held.release();
    assert!(
        cache.update("n", Timeout::Default, |it: u32| it).await.unwrap().is_some(),
        "the breaker is closed"
    );
}

/// Starts two updates. The turn of the second comes shortly before its deadline, and its call to
/// the store is held.
async fn with_late_call(
    time: &FakeClock,
    store: &Faulty,
    cache: &Cache,
) -> (Held, JoinHandle<cache_core::Result<Option<u32>>>) {
    let update =
        |cache: Cache| async move { cache.update("n", Timeout::Default, |it: u32| it + 1).await };
    let (first_get, first_set) = (store.hold(Operation::Get), store.hold(Operation::Update));
    let first = tokio::spawn(update(cache.clone()));
    store.arrived(Operation::Get, 1).await;
    let late = tokio::spawn(update(cache.clone()));
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    time.advance(Duration::from_millis(490));
    first_get.release();
    store.arrived(Operation::Update, 1).await;
    let held = store.hold(Operation::Get);
    first_set.release();
    assert_eq!(first.await.unwrap().unwrap(), Some(1));
    store.arrived(Operation::Get, 2).await;
    (held, late)
}

#[tokio::test]
async fn call_that_began_before_the_total_limit_has_its_own_deadline() {
    let (time, store, cache) = timed();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let (held, late) = with_late_call(&time, &store, &cache).await;
    time.advance(Duration::from_millis(400));
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    assert!(!late.is_finished(), "the call ended before its own deadline");
    held.release();
    assert_eq!(late.await.unwrap().unwrap(), Some(2));
}

#[tokio::test]
async fn hung_store_in_a_late_update_opens_the_breaker() {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let mut breaker = BreakerSettings::default();
    breaker.unanswered = 1;
    let builder = Cache::builder(Arc::new(store.clone())).clock(time.clock()).breaker(breaker);
    let cache = builder.build("test").unwrap();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let (_held, late) = with_late_call(&time, &store, &cache).await;
    time.advance(Duration::from_millis(501));
    assert_eq!(late.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(cache.stats().breaker, Some(BreakerState::Open));
}

#[tokio::test]
async fn no_attempt_begins_after_the_total_limit() {
    let (time, store, cache) = timed();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    // Each attempt takes 200 ms of 500 ms, and another writer is faster.
    let mut attempts = 0;
    let update = cache.update("n", Timeout::Default, |it: u32| {
        attempts += 1;
        time.advance(Duration::from_millis(200));
        let value = (it + 100).to_string().into();
        let mut write = pin!(store.set(":1:n", value, Expiry::Never, SetMode::Always));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(write.as_mut().poll(&mut cx).is_ready());
        it + 1
    });
    let error = tokio::select! {
        biased;
        done = update => done.unwrap_err(),
        () = async { loop { tokio::task::yield_now().await; time.advance(Duration::from_millis(1)); } } => unreachable!(),
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(attempts, 3);
}

#[tokio::test]
async fn unpolled_update_does_not_delay_other_updates() {
    let (time, store, cache) = timed();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let held = store.hold(Operation::Update);
    let mut aside = Box::pin(cache.update("n", Timeout::Default, |it: u32| it + 10));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(aside.as_mut().poll(&mut cx).is_pending());
    store.arrived(Operation::Update, 1).await;
    held.release();
    time.advance(Duration::from_secs(1));
    assert_eq!(cache.update("n", Timeout::Default, |it: u32| it + 1).await.unwrap(), Some(1));
    drop(aside);
    assert_eq!(cache.get::<u32>("n").await.unwrap(), Some(1));
}
