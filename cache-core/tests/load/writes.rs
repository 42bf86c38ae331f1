//! Concurrent loads and writes of one key: a loaded value never overwrites a later write.

use std::{pin::Pin, sync::Arc, time::Duration};

use cache_core::{
    Cache, Caches, Timeout,
    layer::Operation,
    secs,
    store::{Backend, Inline},
    testing::{Fault, Model},
};

use crate::{Source, run_tasks, spawn_load, world};

#[tokio::test]
async fn delete_or_write_during_a_load_wins() {
    type Change = fn(Cache) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    let changes: &[(&str, Change, Option<u32>)] = &[
        ("delete", |it| Box::pin(async move { assert!(!it.delete("k").await.unwrap()) }), None),
        (
            "delete_many",
            |it| Box::pin(async move { assert_eq!(it.delete_many(["k"]).await.unwrap(), 0) }),
            None,
        ),
        ("clear", |it| Box::pin(async move { it.clear().await.unwrap() }), None),
        ("clear_store", |it| Box::pin(async move { it.clear_store().await.unwrap() }), None),
        (
            "set",
            |it| Box::pin(async move { it.set("k", &9, Timeout::Default).await.unwrap() }),
            Some(9),
        ),
        (
            "set_many",
            |it| {
                Box::pin(async move {
                    assert!(it.set_many([("k", 9)], Timeout::Default).await.unwrap().is_empty());
                })
            },
            Some(9),
        ),
        (
            "add",
            |it| Box::pin(async move { assert!(it.add("k", &9, Timeout::Default).await.unwrap()) }),
            Some(9),
        ),
        (
            "incr_or",
            |it| {
                Box::pin(async move {
                    assert_eq!(it.incr_or("k", 4, 5, Timeout::Default).await.unwrap(), 9);
                })
            },
            Some(9),
        ),
        (
            "pop",
            |it| Box::pin(async move { assert_eq!(it.pop::<u32>("k").await.unwrap(), None) }),
            None,
        ),
        (
            "touch to zero",
            |it| Box::pin(async move { assert!(!it.touch("k", secs(0)).await.unwrap()) }),
            None,
        ),
        (
            "incr_version",
            |it| {
                Box::pin(async move {
                    it.at_version(0).set("k", &9, Timeout::Default).await.unwrap();
                    assert_eq!(it.at_version(0).incr_version("k", 1).await.unwrap(), 1);
                })
            },
            Some(9),
        ),
    ];
    for (name, change, expected) in changes {
        let (_, cache, _) = world();
        let (old, new) = (Source::default(), Source::default());
        let caller = spawn_load(&cache, &old, 1);
        old.began.notified().await;
        change(cache.clone()).await;
        let later = spawn_load(&cache, &new, 2);
        run_tasks().await;
        old.go_on.notify_one();
        assert_eq!(
            caller.await.unwrap().unwrap(),
            1,
            "{name}: the caller of the load has its value"
        );
        assert_eq!(
            cache.get::<u32>("k").await.unwrap(),
            *expected,
            "{name}: the old load stored its value"
        );
        new.go_on.notify_one();
        assert_eq!(
            later.await.unwrap().unwrap(),
            expected.unwrap_or(2),
            "{name}: the later caller"
        );
    }
}

#[tokio::test]
async fn delete_waits_for_the_write_of_a_loaded_value() {
    let (store, cache, _) = world();
    let source = Source::default();
    let held = store.hold(Operation::Set);
    let caller = spawn_load(&cache, &source, 1);
    source.go_on.notify_one();
    store.arrived(Operation::Set, 1).await;
    let delete = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.delete("k").await })
    };
    run_tasks().await;
    assert_eq!(store.calls(Operation::Delete), 0, "the delete could be overtaken");
    held.release();
    assert!(delete.await.unwrap().unwrap());
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    assert!(!cache.has_key("k").await.unwrap());
}

#[tokio::test]
async fn delete_waits_no_longer_than_the_deadline_of_the_write() {
    let (store, cache, time) = world();
    let source = Source::default();
    store.inject(|call| if call.operation == Operation::Set { Fault::Hang } else { Fault::None });
    let caller = spawn_load(&cache, &source, 1);
    source.go_on.notify_one();
    store.arrived(Operation::Set, 1).await;
    let delete = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.delete("k").await })
    };
    run_tasks().await;
    assert_eq!(store.calls(Operation::Delete), 0);
    time.advance(Duration::from_millis(500));
    assert!(!delete.await.unwrap().unwrap());
    assert_eq!(caller.await.unwrap().unwrap(), 1, "a failed write fails the load");
    assert_eq!(cache.stats().load_writes_failed, 1);
}

#[tokio::test]
async fn load_that_begins_during_a_write_does_not_overwrite_it() {
    for by_incr in [true, false] {
        let (store, cache, _) = world();
        let held = store.hold(if by_incr { Operation::Incr } else { Operation::Set });
        let write = tokio::spawn({
            let cache = cache.clone();
            async move {
                if by_incr {
                    cache.incr_or("k", 4, 5, Timeout::Default).await.map(drop)
                } else {
                    cache.set("k", &9, Timeout::Default).await
                }
            }
        });
        store.arrived(if by_incr { Operation::Incr } else { Operation::Set }, 1).await;
        let source = Source::default();
        let load = spawn_load(&cache, &source, 1);
        source.began.notified().await;
        held.release();
        write.await.unwrap().unwrap();
        source.go_on.notify_one();
        assert_eq!(load.await.unwrap().unwrap(), 1);
        assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(9), "an acknowledged write is lost");
    }
}

#[tokio::test]
async fn delete_waits_for_the_write_of_a_dropped_load() {
    let (store, cache, time) = world();
    let source = Source::default();
    let held = store.hold(Operation::Set);
    let caller = spawn_load(&cache, &source, 1);
    source.go_on.notify_one();
    store.arrived(Operation::Set, 1).await;
    caller.abort();
    caller.await.unwrap_err();
    let delete = tokio::spawn({
        let cache = cache.clone();
        async move { cache.delete("k").await }
    });
    // sleeps: the absence of a call has no event, and the call would come from the library's
    // thread.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.calls(Operation::Delete), 0, "a write of a dropped call may still arrive");
    time.advance(Duration::from_millis(500));
    delete.await.unwrap().unwrap();
    drop(held);
    while cache.stats().active_loads > 0 {
        time.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn delete_by_another_alias_with_the_same_keys_stops_a_load() {
    let alias = "backend = 'memory'\nlocation = 'main'";
    let text = format!(
        "[caches.default]\n{alias}\n[caches.b]\n{alias}\ntimeout = 'never'\n[caches.c]\n{alias}\nkey_prefix = 'c'"
    );
    let caches =
        Caches::builder().driver(cache_memory::DRIVER).toml(&text).unwrap().build().unwrap();
    for (other, expected) in [("b", None), ("c", Some(1))] {
        let source = Source::default();
        let load = spawn_load(caches.get("default").unwrap(), &source, 1);
        source.began.notified().await;
        caches.get(other).unwrap().delete("k").await.unwrap();
        source.go_on.notify_one();
        load.await.unwrap().unwrap();
        assert_eq!(
            caches.get("default").unwrap().get::<u32>("k").await.unwrap(),
            expected,
            "{other}"
        );
    }
}

#[tokio::test]
async fn aliases_of_one_explicit_store_share_loads_and_of_two_stores_do_not() {
    for (is_same, loads) in [(true, 1), (false, 2)] {
        let model = || Arc::new(Inline::new(Model::default())) as Arc<dyn Backend>;
        let one = model();
        let other = if is_same { Arc::clone(&one) } else { model() };
        let builder = Caches::builder().backend("default", one).backend("other", other);
        let caches = builder.build().unwrap();
        let source = Source::default();
        let first = spawn_load(caches.get("default").unwrap(), &source, 1);
        source.began.notified().await;
        let second = spawn_load(caches.get("other").unwrap(), &source, 2);
        run_tasks().await;
        assert_eq!(source.count(), loads, "the same store: {is_same}");
        source.go_on.notify_waiters();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        assert_eq!(second.await.unwrap().unwrap(), if is_same { 1 } else { 2 });
    }
}
