//! The futures of the cache are `Send` for every type of value, and small.

#![allow(missing_docs)]

use std::{cell::Cell, convert::Infallible, rc::Rc};

use cache_core::{Cache, Timeout, secs, testing::Model};

fn send<F: Future + Send>(future: F) -> usize {
    let size = size_of_val(&future);
    drop(future);
    size
}

/// A value that is not `Sync`: a reference to it cannot be sent to another thread.
#[derive(serde::Serialize)]
struct Local(Cell<u32>);

#[test]
fn futures_of_writes_are_send_for_any_value_and_borrow_neither_key_nor_value() {
    let cache = Cache::new("test", Model::default());
    let value = Rc::new(7);
    let local = Local(Cell::new(1));
    let (set, add, replace) = {
        let key = String::from("k");
        (
            cache.set(&key, &*value, Timeout::Default),
            cache.add(&key, &local, Timeout::Default),
            cache.replace(&key, &local, secs(1)),
        )
    };
    send(set);
    send(add);
    send(replace);
    send(cache.set_many([("k", Local(Cell::new(2)))], Timeout::Default));
}

#[tokio::test]
async fn batches_of_borrowed_keys_can_be_spawned() {
    let cache = Cache::new("test", Model::default());
    let task = tokio::spawn(async move {
        let users = [("ada".to_owned(), 1), ("bob".to_owned(), 2)];
        let keys = || users.iter().map(|it| it.0.as_str());
        let failures =
            cache.set_many(users.iter().map(|it| (it.0.as_str(), it.1)), Timeout::Default).await;
        assert!(failures.unwrap().is_empty());
        let found = cache.get_many::<i32, _>(keys()).await.unwrap();
        assert_eq!(cache.delete_many(keys()).await.unwrap(), 2);
        found.len()
    });
    assert_eq!(task.await.unwrap(), 2);
}

#[test]
fn futures_of_all_calls_are_send_and_small() {
    let cache = Cache::new("test", Model::default());
    let bytes = cache.bytes();
    let fetched = |_| async { Ok::<_, Infallible>(1) };
    let sizes = [
        ("get", send(cache.get::<String>("k"))),
        ("get of bytes", send(bytes.get("k"))),
        ("set", send(cache.set("k", &1, Timeout::Default))),
        ("delete", send(cache.delete("k"))),
        ("incr", send(cache.incr("k", 1))),
        ("get_many", send(cache.get_many::<String, _>(["k"]))),
        ("get_or_set", send(cache.get_or_set("k", Timeout::Default, || async { 1 }))),
        ("fetch", send(cache.fetch("k").load(fetched))),
        ("update", send(cache.update("k", Timeout::Default, |n: u32| n + 1))),
        ("upsert", send(cache.upsert("k", Timeout::Default, |n: Option<u32>| n))),
        ("incr_version", send(cache.incr_version("k", 1))),
    ];
    println!("{sizes:?}");
    for (name, size) in sizes {
        let most = match name {
            // These futures hold two keys, or a whole load.
            "get_or_set" | "fetch" | "incr_version" => 4096,
            _ => 2048,
        };
        assert!(size <= most, "{name}: {size} bytes");
    }
}

#[test]
fn future_of_a_load_holds_the_loader_once() {
    async fn large() -> u32 {
        let held = [7_u8; 4096];
        std::future::pending::<()>().await;
        held.len().try_into().unwrap()
    }
    let cache = Cache::new("test", Model::default());
    let loader = size_of_val(&large());
    let whole = send(cache.get_or_set("k", Timeout::Default, large));
    assert!(whole < loader + 2048, "{whole} bytes for a loader of {loader}");
}
