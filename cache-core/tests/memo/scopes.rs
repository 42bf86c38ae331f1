//! Where a scope begins and ends.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use cache_core::{Cache, RequestMemo, secs};
use tokio::task::yield_now;

use crate::World;

/// Reads a key. Returns how often the store was asked.
async fn asks(it: &World) -> u64 {
    it.calls(async { assert_eq!(it.here.get::<u8>("k").await.unwrap(), None) }).await
}

#[tokio::test]
async fn outside_of_a_scope_nothing_is_remembered() {
    let it = World::plain();
    for _ in 0..3 {
        assert_eq!(asks(&it).await, 1);
    }
    for _ in 0..3 {
        let scope = async { [asks(&it).await, asks(&it).await] };
        assert_eq!(RequestMemo::new().scope(scope).await, [1, 0], "each scope is a new one");
    }
    assert_eq!(asks(&it).await, 1);
}

#[tokio::test]
async fn scope_in_a_scope_is_part_of_it() {
    let it = World::plain();
    RequestMemo::new()
        .scope(async {
            assert_eq!(RequestMemo::new().scope(asks(&it)).await, 1);
            assert_eq!(asks(&it).await, 0);
            assert_eq!(RequestMemo::new().scope(asks(&it)).await, 0);
            assert_eq!(asks(&it).await, 0, "the inner one did not end the outer one");
        })
        .await;
    assert_eq!(asks(&it).await, 1);
}

#[tokio::test]
async fn spawned_tasks_are_not_in_the_scope() {
    let it = std::sync::Arc::new(World::plain());
    let other = std::sync::Arc::clone(&it);
    RequestMemo::new()
        .scope(async move {
            assert_eq!(asks(&it).await, 1);
            let task = tokio::spawn(async move { [asks(&other).await, asks(&other).await] });
            assert_eq!(task.await.unwrap(), [1, 1]);
            assert_eq!(asks(&it).await, 0);
        })
        .await;
}

/// Two requests on one thread take turns at every await.
#[tokio::test]
async fn scopes_of_one_thread_are_separate() {
    let it = World::plain();
    let request = async || {
        let scope = async {
            let mut all = 0;
            for _ in 0..10 {
                it.here.get::<u8>("k").await.unwrap();
                yield_now().await;
                all += 1;
            }
            all
        };
        RequestMemo::new().scope(scope).await
    };
    let before = it.store.all_calls();
    let outside = async {
        for _ in 0..10 {
            it.here.get::<u8>("k").await.unwrap();
            yield_now().await;
        }
    };
    let (one, two, ()) = tokio::join!(request(), request(), outside);
    assert_eq!((one, two), (10, 10));
    assert_eq!(it.store.all_calls() - before, 1 + 1 + 10);
}

#[test]
fn panic_ends_the_scope() {
    let it = World::plain();
    let cache = it.here.blocking();
    let mut memo = RequestMemo::new();
    let panics = || {
        memo.scope_sync(|| {
            cache.get::<u8>("k").unwrap();
            panic!("in the scope")
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(it.store.all_calls(), 1);
    cache.get::<u8>("k").unwrap();
    cache.get::<u8>("k").unwrap();
    assert_eq!(it.store.all_calls(), 3, "the thread is in no scope");
    memo.scope_sync(|| cache.get::<u8>("k")).unwrap();
    assert_eq!(it.store.all_calls(), 3, "the memo is intact");
}

#[test]
fn blocking_handle_and_its_writes_are_in_the_scope() {
    let it = World::with_entries();
    let cache = it.here.blocking();
    cache.set("k", &1, secs(60)).unwrap();
    RequestMemo::new().scope_sync(|| {
        let before = it.store.all_calls();
        for _ in 0..3 {
            assert_eq!(cache.get::<u8>("k").unwrap(), Some(1));
            assert_eq!(cache.get_or_set("k", secs(60), || 2).unwrap(), 1);
        }
        assert_eq!(it.store.all_calls() - before, 1);
        cache.set("k", &3, secs(60)).unwrap();
        assert_eq!(cache.get::<u8>("k").unwrap(), Some(3));
    });
}

#[tokio::test]
async fn dropped_future_ends_the_scope() {
    let it = World::plain();
    {
        let mut request = pin!(RequestMemo::new().scope(async {
            asks(&it).await;
            std::future::pending::<()>().await;
        }));
        poll_fn(|cx| {
            assert!(request.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    assert_eq!([asks(&it).await, asks(&it).await], [1, 1]);
}

#[test]
fn futures_of_scopes_are_send() {
    fn send(_: impl Send) {}
    let cache = Cache::new("test", cache_core::testing::Model::default());
    send(RequestMemo::new().scope(async move { cache.get::<u8>("k").await.is_ok() }));
    send(RequestMemo::new());
}

#[tokio::test]
async fn request_may_read_more_than_is_remembered() {
    let it = World::plain();
    RequestMemo::new()
        .scope(async {
            for round in 0..2 {
                for n in 0..1500 {
                    let key = format!("k{n}");
                    assert_eq!(it.here.get::<u8>(&key).await.unwrap(), None, "{round}");
                }
            }
        })
        .await;
    assert_eq!(it.store.all_calls(), 1500 + 500);
}
