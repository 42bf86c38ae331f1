//! When the generation is read, and for how long it is remembered.

use std::collections::HashMap;

use cache_core::{
    Caches, ErrorKind, Timeout,
    layer::Operation,
    store::{Backend, Expiry, SetMode},
};

use crate::{MARKER, SECOND, World, run_tasks};

#[tokio::test]
async fn hit_costs_no_call_more_while_the_generation_is_remembered() {
    let world = World::new();
    let cache = world.cache();
    let users = cache.namespace("users").unwrap();
    users.set("7", "Ada", Timeout::Never).await.unwrap();
    // The namespace is named again, as a handler of a service does.
    let users = cache.namespace("users").unwrap();
    let before = world.store.all_calls();
    for _ in 0..10 {
        assert_eq!(users.get::<String>("7").await.unwrap().as_deref(), Some("Ada"));
    }
    assert_eq!(users.get_many::<String, _>(["7", "8"]).await.unwrap().len(), 1);
    assert_eq!(world.store.all_calls() - before, 11);
    world.time.advance(SECOND);
    for _ in 0..10 {
        assert!(users.get::<String>("7").await.unwrap().is_some());
    }
    assert_eq!(world.store.all_calls() - before, 22, "one read of the marker");
}

#[tokio::test]
async fn names_of_a_nested_namespace_are_read_with_one_call() {
    let world = World::new();
    let eu = world.cache().namespace("users").unwrap().namespace("eu").unwrap();
    eu.set("7", "Ada", Timeout::Never).await.unwrap();
    let other = world.cache().namespace("users").unwrap().namespace("eu").unwrap();
    let before = world.store.all_calls();
    assert!(other.has_key("7").await.unwrap());
    assert_eq!(world.store.all_calls() - before, 2);
    assert_eq!(world.store.calls(Operation::GetMany), 2);
}

#[tokio::test]
async fn clear_of_another_process_takes_effect_within_the_staleness() {
    let world = World::new();
    let [one, two] = [world.cache(), world.cache()].map(|it| it.namespace("users").unwrap());
    one.set("7", "Ada", Timeout::Never).await.unwrap();
    assert!(two.has_key("7").await.unwrap());
    world.time.advance(SECOND / 2);
    one.clear().await.unwrap();
    assert!(!one.has_key("7").await.unwrap(), "at once in this process");
    assert!(two.has_key("7").await.unwrap());
    world.time.advance(SECOND / 2);
    assert!(!two.has_key("7").await.unwrap());
    // Both have the same generation again.
    two.set("8", "Bob", Timeout::Never).await.unwrap();
    assert!(one.has_key("8").await.unwrap());
}

#[tokio::test]
async fn without_staleness_each_call_sees_the_clear_of_another_process() {
    let world = World::new();
    let cache = || world.cache_with_staleness(std::time::Duration::ZERO);
    let [one, two] = [cache(), cache()].map(|it| it.namespace("users").unwrap());
    for round in 0..10 {
        one.set("7", &round, Timeout::Never).await.unwrap();
        assert_eq!(two.get::<i32>("7").await.unwrap(), Some(round));
        one.clear().await.unwrap();
        assert!(!two.has_key("7").await.unwrap());
    }
}

#[tokio::test]
async fn lost_marker_makes_misses() {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    users.set("7", "Ada", Timeout::Never).await.unwrap();
    assert!(world.store.delete(MARKER).await.unwrap());
    assert!(users.has_key("7").await.unwrap(), "remembered");
    world.time.advance(SECOND);
    assert!(!users.has_key("7").await.unwrap());
    users.set("7", "Bob", Timeout::Never).await.unwrap();
    assert!(users.has_key("7").await.unwrap());
}

#[tokio::test]
async fn marker_with_foreign_bytes_is_replaced() {
    let world = World::new();
    for foreign in ["", "0000000000000", "text", "0123456789abc\n"] {
        let put = world.store.set(MARKER, foreign.into(), Expiry::Never, SetMode::Always);
        assert!(put.await.unwrap());
        let [one, two] = [world.cache(), world.cache()].map(|it| it.namespace("users").unwrap());
        one.set("7", foreign, Timeout::Never).await.unwrap();
        assert_eq!(two.get::<String>("7").await.unwrap().as_deref(), Some(foreign));
    }
}

#[tokio::test]
async fn callers_that_need_the_generation_share_one_read() {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    let held = world.store.hold(Operation::Get);
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let users = users.clone();
            tokio::spawn(async move { users.has_key(&n.to_string()).await })
        })
        .collect();
    world.store.arrived(Operation::Get, 1).await;
    run_tasks().await;
    held.release();
    for task in tasks {
        assert!(!task.await.unwrap().unwrap());
    }
    assert_eq!(world.store.calls(Operation::Get), 1, "reads of the marker");
}

#[tokio::test]
async fn dropped_or_unpolled_reader_does_not_keep_others_waiting() {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    let held = world.store.hold(Operation::Get);
    let mut reader = Box::pin(users.has_key("7"));
    poll_once(&mut reader);
    let waiting = tokio::spawn({
        let users = users.clone();
        async move { users.has_key("7").await }
    });
    run_tasks().await;
    assert_eq!(world.store.calls(Operation::Get), 1);
    drop(reader);
    world.store.arrived(Operation::Get, 2).await;
    held.release();
    assert!(!waiting.await.unwrap().unwrap());

    world.time.advance(SECOND);
    let held = world.store.hold(Operation::Get);
    let mut unpolled = Box::pin(users.has_key("7"));
    poll_once(&mut unpolled);
    held.release();
    world.time.advance(60 * SECOND);
    assert!(!users.has_key("7").await.unwrap());
    drop(unpolled);
}

fn poll_once(future: &mut std::pin::Pin<Box<impl Future>>) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
}

/// Aliases of one store and prefix share what they remember, as they share their keys.
#[tokio::test]
async fn clear_through_one_alias_takes_effect_at_once_in_the_other() {
    let caches = Caches::builder()
        .driver(cache_memory::DRIVER)
        .toml(
            r#"
            [caches.default]
            backend = "memory"
            location = "main"
            key_prefix = "shop"
            tag_staleness = "1h"
            [caches.same]
            backend = "memory"
            location = "main"
            key_prefix = "shop"
            tag_staleness = "1h"
            [caches.eu]
            backend = "memory"
            location = "main"
            key_prefix = "shop:eu"
            "#,
        )
        .unwrap()
        .build()
        .unwrap();
    let handles: HashMap<_, _> = ["default", "same", "eu"]
        .map(|it| (it, caches.get(it).unwrap().namespace("users").unwrap()))
        .into();
    for handle in handles.values() {
        handle.set("7", "Ada", Timeout::Never).await.unwrap();
    }
    handles["default"].clear().await.unwrap();
    assert!(!handles["same"].has_key("7").await.unwrap());
    assert!(handles["eu"].has_key("7").await.unwrap(), "other keys");
}

#[test]
fn staleness_of_more_than_an_hour_is_refused() {
    let build = |staleness: &str| {
        let toml = format!("[caches.default]\nbackend = 'memory'\ntag_staleness = {staleness}");
        Caches::builder().driver(cache_memory::DRIVER).toml(&toml)?.build()
    };
    for good in ["0", "0.25", "'500ms'", "'1h'"] {
        build(good).unwrap();
    }
    for bad in ["'61m'", "-1", "'never'", "true"] {
        let error = build(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        assert!(error.to_string().contains("caches.default.tag_staleness"), "{error}");
    }
}

/// Under the old generation, a write would be lost, and `add` would have two winners.
#[tokio::test]
async fn writes_use_the_generation_of_the_last_clear_of_any_process() {
    let world = World::new();
    let [one, two] = [world.cache(), world.cache()].map(|it| it.namespace("users").unwrap());
    two.set("k", &0, Timeout::Never).await.unwrap();
    for call in 0..10 {
        one.clear().await.unwrap();
        one.set("k", &1, Timeout::Never).await.unwrap();
        let expected = match call {
            0 => two.set("k", &2, Timeout::Never).await.map(|()| Some(2)),
            1 => two.delete("k").await.map(|deleted| (!deleted).then_some(0)),
            2 => two.add("k", &2, Timeout::Never).await.map(|added| Some(1).filter(|_| !added)),
            3 => two.replace("k", &3, Timeout::Never).await.map(|done| done.then_some(3)),
            4 => two.incr("k", 1).await.map(Some),
            5 => two.incr_or("k", 1, 7, Timeout::Never).await.map(Some),
            6 => two.update("k", Timeout::Never, |n: i64| n + 4).await,
            7 => two.delete_many(["k"]).await.map(|count| (count == 0).then_some(0)),
            8 => {
                let failures = two.set_many([("k", 5)], Timeout::Never).await.unwrap();
                failures.into_result().map(|()| Some(5))
            }
            _ => two.pop::<i64>("k").await.map(|it| it.filter(|it| *it != 1)),
        };
        assert_eq!(one.get::<i64>("k").await.unwrap(), expected.unwrap(), "call {call}");
    }
}

#[tokio::test]
async fn empty_batch_reads_no_generation() {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    assert!(users.get_many::<i32, _>([""; 0]).await.unwrap().is_empty());
    assert!(users.set_many([("", 1); 0], Timeout::Never).await.unwrap().is_empty());
    assert_eq!(users.delete_many([""; 0]).await.unwrap(), 0);
    assert_eq!(world.store.all_calls(), 0);
}
