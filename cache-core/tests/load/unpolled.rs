//! Futures that hold a permit and are not polled again: the permit expires after the time limit of
//! the call.

use std::{
    future::pending,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Timeout, layer::Operation, secs};

use crate::{Source, run_tasks, spawn_load, world};

/// Longer than the time limit of every write.
const LONG: Duration = Duration::from_secs(10);

fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
}

async fn loads(cache: &Cache) -> bool {
    let before = cache.stats().loads;
    assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await.unwrap(), 7);
    cache.stats().loads > before
}

#[tokio::test]
async fn unpolled_write_does_not_keep_a_key_uncached_for_ever() {
    let (store, cache, time) = world();
    for operation in [Operation::Set, Operation::Delete, Operation::SetMany, Operation::Incr] {
        cache.delete("k").await.unwrap();
        let held = store.hold(operation);
        let own = cache.clone();
        let mut aside: Pin<Box<dyn Future<Output = _> + Send>> = match operation {
            Operation::Set => {
                Box::pin(async move { own.strict().set("k", &1, Timeout::Default).await })
            }
            Operation::Delete => Box::pin(async move { own.strict().delete("k").await.map(drop) }),
            Operation::SetMany => Box::pin(async move {
                own.strict().set_many([("k", 1)], Timeout::Default).await?.into_result()
            }),
            _ => Box::pin(async move { own.incr_or("k", 1, 0, Timeout::Default).await.map(drop) }),
        };
        poll_once(&mut aside);
        held.release();
        assert!(loads(&cache).await, "{operation:?}: the first load did not run");
        assert!(loads(&cache).await, "{operation:?}: a value was stored during the write");
        time.advance(LONG);
        assert!(loads(&cache).await);
        assert!(!loads(&cache).await, "{operation:?}: the key is never cached again");
        // If the future is polled again, it must not overwrite the newer value.
        assert_eq!(aside.await.unwrap_err().kind(), ErrorKind::TimedOut, "{operation:?}");
        // A delete that failed is sent again.
        let left = (operation != Operation::Delete).then_some(7);
        assert_eq!(cache.get::<i32>("k").await.unwrap(), left, "{operation:?}");
    }
}

#[tokio::test]
async fn unpolled_store_of_a_loaded_value_delays_no_write_and_is_dropped() {
    let (store, cache, time) = world();
    let held = store.hold(Operation::Set);
    let mut aside = Box::pin(cache.get_or_set("k", Timeout::Default, || async { 1 }));
    poll_once(&mut aside);
    store.arrived(Operation::Set, 1).await;
    held.release();
    time.advance(LONG);
    // No timer runs here, so a call that waited would wait for ever.
    cache.set("k", &2, Timeout::Default).await.unwrap();
    assert_eq!(aside.await.unwrap(), 1);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2), "the older value came late");
}

#[tokio::test]
async fn unpolled_load_is_taken_over_after_the_load_deadline() {
    let (_, cache, time) = world();
    let mut aside = Box::pin(cache.get_or_set::<i32, _>("k", secs(60), pending));
    poll_once(&mut aside);
    time.advance(Duration::from_secs(31));
    assert!(loads(&cache).await);
    assert!(!loads(&cache).await);
}

#[tokio::test]
async fn one_of_the_waiters_loads_after_the_load_deadline() {
    let (_, cache, time) = world();
    let mut aside = Box::pin(cache.get_or_set::<i32, _>("k", secs(60), pending));
    poll_once(&mut aside);
    let source = Source::default();
    let callers: Vec<_> = (0..50).map(|_| spawn_load(&cache, &source, 2)).collect();
    run_tasks().await;
    time.advance(Duration::from_secs(31));
    source.began.notified().await;
    run_tasks().await;
    assert_eq!(source.count(), 1, "more than one caller loads");
    source.go_on.notify_waiters();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 2);
    }
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn callers_of_hanging_loads_wait_at_most_two_load_deadlines() {
    let (_, cache, time) = world();
    let hung = Source::default();
    let callers: Vec<_> = (0..50).map(|_| spawn_load(&cache, &hung, 2)).collect();
    for loads in 1..=2 {
        run_tasks().await;
        assert_eq!(hung.count(), loads);
        time.advance(Duration::from_secs(30));
    }
    run_tasks().await;
    let (ended, loading): (Vec<_>, Vec<_>) =
        callers.into_iter().partition(tokio::task::JoinHandle::is_finished);
    // Two loaders hang, a third caller may take over now, and a fourth never loads.
    assert!(loading.len() <= 3 && hung.count() <= 3, "{} {}", loading.len(), hung.count());
    for caller in ended {
        assert_eq!(caller.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
    loading.iter().for_each(tokio::task::JoinHandle::abort);
}
