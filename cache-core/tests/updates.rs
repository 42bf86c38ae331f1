//! Many callers of `update` on one key.

#![allow(missing_docs)]

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, Timeout,
    layer::Operation,
    secs,
    store::{Inline, Offload},
    testing::{FakeClock, Faulty, Model},
};

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
