//! A load that a clear overtakes does not store under the new generation, whichever call loads.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use cache_core::{Cache, Keyspace, Timeout, secs};
use tokio::sync::Notify;

use crate::World;

static USERS: Keyspace<u64, i32> = Keyspace::new("user").ttl(secs(300));

/// Makes a load that waits, in one of four ways.
fn load(users: &Cache, way: usize, value: i32, began: Arc<Notify>, go_on: Arc<Notify>) -> Task {
    let users = users.clone();
    let load = move || async move {
        began.notify_one();
        go_on.notified().await;
        value
    };
    tokio::spawn(async move {
        match way {
            0 => users.get_or_set("k", Timeout::Never, load).await,
            1 => {
                let load = |_| async { Ok::<_, Infallible>(load().await) };
                users.fetch("k").load(load).await
            }
            2 => {
                let mut load = Some(load);
                let load = |missing: Vec<&'static str>| {
                    let load = load.take().expect("one load");
                    async move {
                        let value = load().await;
                        missing.into_iter().map(move |it| (it, value))
                    }
                };
                let found = users.get_or_set_many(["k"], Timeout::Never, load).await;
                found.map(|it| it["k"])
            }
            _ => USERS.get_or_set(&users, &7, load).await,
        }
    })
}

type Task = tokio::task::JoinHandle<cache_core::Result<i32>>;

async fn stored(users: &Cache, way: usize) -> Option<i32> {
    if way == 3 { USERS.get(users, &7).await.unwrap() } else { users.get("k").await.unwrap() }
}

#[tokio::test]
async fn value_of_a_load_that_began_before_a_clear_is_not_served() {
    for way in 0..4 {
        for by_another_process in [false, true] {
            let world = World::new();
            let cache = world.cache();
            let users = cache.namespace("users").unwrap();
            let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let old = load(&users, way, 1, Arc::clone(&began), Arc::clone(&go_on));
            began.notified().await;
            let other = world.cache().namespace("users").unwrap();
            let clearing = if by_another_process { &other } else { &users };
            clearing.clear().await.unwrap();
            if by_another_process {
                world.time.advance(crate::SECOND);
            }
            // A caller after the clear loads for itself.
            let new = load(&users, way, 2, Arc::clone(&began), Arc::clone(&go_on));
            began.notified().await;
            go_on.notify_one();
            assert_eq!(old.await.unwrap().unwrap(), 1, "the caller from before");
            assert_eq!(stored(&users, way).await, None, "way {way}");
            go_on.notify_one();
            assert_eq!(new.await.unwrap().unwrap(), 2);
            assert_eq!(stored(&users, way).await, Some(2));
            assert_eq!(stored(&other, way).await, Some(2));
        }
    }
}

#[tokio::test]
async fn write_that_a_clear_overtakes_is_not_served() {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    users.set("k", &1, Timeout::Never).await.unwrap();
    let held = world.store.hold(cache_core::layer::Operation::Set);
    let sets = world.store.calls(cache_core::layer::Operation::Set);
    let late = tokio::spawn({
        let users = users.clone();
        async move { users.set("k", &2, Timeout::Never).await }
    });
    world.store.arrived(cache_core::layer::Operation::Set, sets + 1).await;
    users.clear().await.unwrap();
    held.release();
    late.await.unwrap().unwrap();
    assert_eq!(users.get::<i32>("k").await.unwrap(), None);
    // The generation is chosen when the future is polled, not when it is made.
    let set = users.set("k", &3, Timeout::Never);
    users.clear().await.unwrap();
    set.await.unwrap();
    assert_eq!(users.get::<i32>("k").await.unwrap(), Some(3));
}

#[tokio::test]
async fn move_to_another_version_stays_in_its_generation() {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    users.set("k", "v", Timeout::Never).await.unwrap();
    let renames = AtomicU32::new(0);
    world.store.inject(move |call| {
        if call.operation == cache_core::layer::Operation::IncrVersion {
            renames.fetch_add(1, Ordering::SeqCst);
        }
        cache_core::testing::Fault::None
    });
    assert_eq!(users.incr_version("k", 1).await.unwrap(), 2);
    assert!(users.at_version(2).has_key("k").await.unwrap());
    let held = world.store.hold(cache_core::layer::Operation::IncrVersion);
    let moving = tokio::spawn({
        let users = users.clone();
        async move { users.at_version(2).incr_version("k", 1).await }
    });
    world.store.arrived(cache_core::layer::Operation::IncrVersion, 2).await;
    users.clear().await.unwrap();
    held.release();
    assert_eq!(moving.await.unwrap().unwrap(), 3);
    assert!(!users.at_version(3).has_key("k").await.unwrap());
}
