//! Many callers of `update` on one key.

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

/// One in flight: no caller fails another, so each reads and writes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_of_one_key_are_made_one_after_the_other() {
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
async fn whoever_has_no_turn_within_the_deadline_is_told_so() {
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

/// Two updates, of which the second has its turn shortly before its time is over, and its call to the store is held back.
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
async fn a_call_that_began_before_the_total_limit_ends_with_its_own_answer() {
    let (time, store, cache) = timed();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let (held, late) = with_late_call(&time, &store, &cache).await;
    time.advance(Duration::from_millis(400));
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    assert!(!late.is_finished(), "it was cut off before the deadline of its call");
    held.release();
    assert_eq!(late.await.unwrap().unwrap(), Some(2));
}

#[tokio::test]
async fn a_hung_store_in_a_late_update_counts_for_the_breaker() {
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
async fn no_try_begins_after_the_total_limit() {
    let (time, store, cache) = timed();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    // Each try takes 200 ms of 500, and another writer was faster.
    let mut tries = 0;
    let update = cache.update("n", Timeout::Default, |it: u32| {
        tries += 1;
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
    assert_eq!(tries, 3);
}

#[tokio::test]
async fn an_update_that_is_put_aside_holds_nobody_up() {
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
