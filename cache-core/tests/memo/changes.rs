//! Changes that a scope sees.

use std::{future::ready, sync::Arc};

use cache_core::{Cache, ErrorKind, RequestMemo, Timeout, layer::Operation, secs, testing::Fault};
use tokio::{sync::Barrier, task::yield_now};

use crate::{SECOND, World, on_each};

/// Reads the key so that the scope remembers it.
async fn seen(cache: &Cache) -> Option<i64> {
    for _ in 0..2 {
        cache.get::<i64>("k").await.unwrap();
    }
    cache.get("k").await.unwrap()
}

#[tokio::test]
async fn every_change_in_the_scope_is_seen() {
    on_each(async |it: World| {
        let cache = &it.here;
        let never = Timeout::Never;
        RequestMemo::new()
            .scope(async {
                assert_eq!(seen(cache).await, None);
                cache.set("k", &1, never).await.unwrap();
                assert_eq!(seen(cache).await, Some(1));
                cache.delete("k").await.unwrap();
                assert_eq!(seen(cache).await, None);
                assert!(cache.add("k", &2, never).await.unwrap());
                assert_eq!(seen(cache).await, Some(2));
                assert!(cache.replace("k", &3, never).await.unwrap());
                assert_eq!(seen(cache).await, Some(3));
                cache.incr("k", 1).await.unwrap();
                assert_eq!(seen(cache).await, Some(4));
                cache.update("k", never, |it: i64| it + 1).await.unwrap();
                assert_eq!(seen(cache).await, Some(5));
                assert_eq!(cache.pop::<i64>("k").await.unwrap(), Some(5));
                assert_eq!(seen(cache).await, None);
                cache.incr_or("k", 1, 5, never).await.unwrap();
                assert_eq!(seen(cache).await, Some(6));
                cache.incr_version("k", 1).await.unwrap();
                assert_eq!(seen(cache).await, None);
                assert_eq!(seen(&cache.at_version(2)).await, Some(6));
                cache.set_many([("k", 7)], never).await.unwrap().into_result().unwrap();
                assert_eq!(seen(cache).await, Some(7));
                cache.delete_many(["k"]).await.unwrap();
                assert_eq!(seen(cache).await, None);
                cache.upsert("k", never, |_| Some(8_i64)).await.unwrap();
                assert_eq!(seen(cache).await, Some(8));
                cache.touch("k", secs(0)).await.unwrap();
                assert_eq!(seen(cache).await, None);
                cache.get_or_set("k", never, || ready(9_i64)).await.unwrap();
                assert_eq!(seen(cache).await, Some(9));
                let load = |_| ready(Ok::<_, std::convert::Infallible>(10_i64));
                cache.fetch("k").force().load(load).await.unwrap();
                assert_eq!(seen(cache).await, Some(10));
                cache.clear().await.unwrap();
                assert_eq!(seen(cache).await, None);
                cache.set("k", &11, never).await.unwrap();
                assert_eq!(seen(cache).await, Some(11));
                cache.clear_store().await.unwrap();
                assert_eq!(seen(cache).await, None);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn revisions_and_tags_are_seen() {
    let it = World::with_entries();
    let cache = &it.here;
    RequestMemo::new()
        .scope(async {
            assert!(cache.set_revision("k", &1, 5, secs(60)).await.unwrap());
            assert_eq!(seen(cache).await, Some(1));
            assert!(cache.set_revision("k", &2, 6, secs(60)).await.unwrap());
            assert_eq!(seen(cache).await, Some(2));
            assert!(cache.delete_revision("k", 7, secs(60)).await.unwrap());
            assert_eq!(seen(cache).await, None);
            for invalidates in [true, false] {
                cache.with_tags(["t"]).set("k", &3, secs(60)).await.unwrap();
                assert_eq!(seen(cache).await, Some(3));
                // In another task, as another request would.
                let other = cache.clone();
                let change = async move {
                    if invalidates {
                        other.invalidate_tags(["t"]).await
                    } else {
                        other.expire_tags(["t"]).await
                    }
                };
                tokio::spawn(change).await.unwrap().unwrap();
                assert_eq!(seen(cache).await, None);
            }
        })
        .await;
}

/// Another request of this process writes and deletes while a scope reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_change_of_another_task_is_seen_at_once() {
    let it = World::plain();
    let barrier = Arc::new(Barrier::new(2));
    let writer = tokio::spawn({
        let (cache, barrier) = (it.here.clone(), Arc::clone(&barrier));
        async move {
            for n in 0..500 {
                if n % 2 == 0 {
                    cache.set("k", &n, Timeout::Never).await.unwrap();
                } else {
                    cache.delete("k").await.unwrap();
                }
                // The change is acknowledged; then the reader looks, while nothing changes.
                barrier.wait().await;
                barrier.wait().await;
            }
        }
    });
    RequestMemo::new()
        .scope(async {
            for n in 0..500 {
                // Fills the memo in the middle of the write, too.
                for _ in 0..3 {
                    it.here.get::<i64>("k").await.unwrap();
                    yield_now().await;
                }
                barrier.wait().await;
                let expected = (n % 2 == 0).then_some(n);
                for _ in 0..2 {
                    assert_eq!(it.here.get::<i64>("k").await.unwrap(), expected);
                }
                barrier.wait().await;
            }
        })
        .await;
    writer.await.unwrap();
}

#[tokio::test]
async fn value_that_was_read_during_a_delete_is_forgotten_at_its_end() {
    on_each(async |it: World| {
        it.here.set("k", &1, Timeout::Never).await.unwrap();
        let key = it.here.clone();
        RequestMemo::new()
            .scope(async {
                // An entry with a revision is taken, to know whether it was a value.
                let held = [Operation::Delete, Operation::Pop].map(|op| it.store.hold(op));
                let delete = tokio::spawn(async move { key.delete("k").await });
                let calls = || it.store.calls(Operation::Delete) + it.store.calls(Operation::Pop);
                while calls() == 0 {
                    yield_now().await;
                }
                assert_eq!(seen(&it.here).await, Some(1), "not deleted yet");
                drop(held);
                assert!(delete.await.unwrap().unwrap());
                assert_eq!(seen(&it.here).await, None);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn change_by_another_process_is_seen_after_one_second() {
    on_each(async |it: World| {
        it.here.set("k", &1, Timeout::Never).await.unwrap();
        RequestMemo::new()
            .scope(async {
                assert_eq!(seen(&it.here).await, Some(1));
                it.there.set("k", &2, Timeout::Never).await.unwrap();
                it.time.advance(SECOND / 2);
                assert_eq!(seen(&it.here).await, Some(1));
                it.time.advance(SECOND / 2);
                assert_eq!(seen(&it.here).await, Some(2));
                it.there.delete("k").await.unwrap();
            })
            .await;
        assert_eq!(seen(&it.here).await, None, "the scope has ended");
    })
    .await;
}

#[tokio::test]
async fn operations_that_decide_use_the_store() {
    on_each(async |it: World| {
        let cache = &it.here;
        RequestMemo::new()
            .scope(async {
                assert_eq!(seen(cache).await, None);
                it.there.set("k", &1, Timeout::Never).await.unwrap();
                assert_eq!(seen(cache).await, None, "remembered");
                assert!(!cache.add("k", &2, Timeout::Never).await.unwrap());
                it.there.set("k", &2, Timeout::Never).await.unwrap();
                assert_eq!(seen(cache).await, Some(2), "after `add` the scope reads again");
                it.there.set("k", &5, Timeout::Never).await.unwrap();
                let new = cache.update("k", Timeout::Never, |it: i64| it + 1).await.unwrap();
                assert_eq!(new, Some(6));
                assert_eq!(seen(cache).await, Some(6));
                it.there.set("k", &10, Timeout::Never).await.unwrap();
                assert_eq!(cache.incr("k", 1).await.unwrap(), 11);
                assert_eq!(seen(cache).await, Some(11));
                it.there.set("k", &20, Timeout::Never).await.unwrap();
                // A change that is not made leaves no doubt either.
                let seen_by_change = std::cell::Cell::new(None);
                let change = |it: Option<i64>| {
                    seen_by_change.set(it);
                    None
                };
                cache.upsert("k", Timeout::Never, change).await.unwrap();
                assert_eq!(seen_by_change.get(), Some(20));
                it.there.set("k", &21, Timeout::Never).await.unwrap();
                assert_eq!(cache.pop::<i64>("k").await.unwrap(), Some(21));
                assert!(cache.try_lock("k", secs(60)).await.unwrap().is_some());
                assert!(it.there.try_lock("k", secs(60)).await.unwrap().is_none());
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn value_whose_delete_failed_is_not_remembered() {
    on_each(async |it: World| {
        it.here.set("k", &1, Timeout::Never).await.unwrap();
        RequestMemo::new()
            .scope(async {
                assert_eq!(seen(&it.here).await, Some(1));
                it.store.inject(|_| Fault::Error(ErrorKind::Unavailable));
                assert!(!it.here.delete("k").await.unwrap(), "it failed open");
                assert_eq!(seen(&it.here).await, None);
                it.store.heal();
                assert_eq!(seen(&it.here).await, None);
            })
            .await;
    })
    .await;
}
