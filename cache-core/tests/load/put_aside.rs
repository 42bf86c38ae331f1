//! Futures that hold a right and are never polled again: the right ends by itself after the time that the call may take.

use std::{
    future::pending,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Timeout, layer::Operation, secs};

use crate::{Source, settle, spawn_load, world};

/// Longer than any write may take.
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
async fn a_write_that_is_put_aside_keeps_no_key_from_being_cached() {
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
        assert!(loads(&cache).await, "{operation:?}: what is loaded meanwhile is not stored");
        assert!(loads(&cache).await, "{operation:?}: nor this");
        time.advance(LONG);
        assert!(loads(&cache).await);
        assert!(!loads(&cache).await, "{operation:?}: the key is never cached again");
        // Polled again, it must not overwrite what has been stored since.
        assert_eq!(aside.await.unwrap_err().kind(), ErrorKind::TimedOut, "{operation:?}");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(7), "{operation:?}");
    }
}

#[tokio::test]
async fn a_loaded_value_whose_store_is_put_aside_holds_nobody_up_and_comes_no_more() {
    let (store, cache, time) = world();
    let held = store.hold(Operation::Set);
    let mut aside = Box::pin(cache.get_or_set("k", Timeout::Default, || async { 1 }));
    poll_once(&mut aside);
    store.arrived(Operation::Set, 1).await;
    held.release();
    time.advance(LONG);
    // No timer runs here, so what waited would wait for ever.
    cache.set("k", &2, Timeout::Default).await.unwrap();
    assert_eq!(aside.await.unwrap(), 1);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2), "the older value came late");
}

#[tokio::test]
async fn a_load_that_is_put_aside_is_taken_over_at_once_when_its_time_is_over() {
    let (_, cache, time) = world();
    let mut aside = Box::pin(cache.get_or_set::<i32, _>("k", secs(60), pending));
    poll_once(&mut aside);
    time.advance(Duration::from_secs(31));
    assert!(loads(&cache).await);
    assert!(!loads(&cache).await);
}

#[tokio::test]
async fn of_those_who_waited_for_the_load_deadline_one_loads() {
    let (_, cache, time) = world();
    let mut aside = Box::pin(cache.get_or_set::<i32, _>("k", secs(60), pending));
    poll_once(&mut aside);
    let source = Source::default();
    let callers: Vec<_> = (0..50).map(|_| spawn_load(&cache, &source, 2)).collect();
    settle().await;
    time.advance(Duration::from_secs(31));
    source.began.notified().await;
    settle().await;
    assert_eq!(source.count(), 1, "all of them load");
    source.go_on.notify_waiters();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 2);
    }
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn nobody_waits_for_loads_that_hang_longer_than_two_load_deadlines() {
    let (_, cache, time) = world();
    let hung = Source::default();
    let callers: Vec<_> = (0..50).map(|_| spawn_load(&cache, &hung, 2)).collect();
    for loads in 1..=2 {
        settle().await;
        assert_eq!(hung.count(), loads);
        time.advance(Duration::from_secs(30));
    }
    settle().await;
    let (ended, loading): (Vec<_>, Vec<_>) =
        callers.into_iter().partition(tokio::task::JoinHandle::is_finished);
    // Two have their loaders run, and with the one that takes over now there is no fourth.
    assert!(loading.len() <= 3 && hung.count() <= 3, "{} {}", loading.len(), hung.count());
    for caller in ended {
        assert_eq!(caller.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
    loading.iter().for_each(tokio::task::JoinHandle::abort);
}
