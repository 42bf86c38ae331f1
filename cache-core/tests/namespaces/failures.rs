//! A store that fails while a generation is read or replaced.

use cache_core::{
    Cache, ErrorKind, FetchOutcome, Loaded, Result, Timeout,
    layer::{Call, Operation},
    testing::Fault,
};

use crate::{MARKER, SECOND, World, run_tasks};

const DOWN: ErrorKind = ErrorKind::Unavailable;

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A namespace with the entry `k`, whose generation is not remembered.
async fn world() -> (World, Cache) {
    let world = World::new();
    let users = world.cache().namespace("users").unwrap();
    users.set("k", &1, Timeout::Never).await.unwrap();
    world.time.advance(SECOND);
    (world, users)
}

fn marker_fails(world: &World) {
    world.store.fail_keys(|key| key == MARKER, DOWN);
}

#[tokio::test]
async fn reads_are_misses_or_the_error_while_the_generation_cannot_be_read() {
    let (world, users) = world().await;
    marker_fails(&world);
    assert_eq!(users.get::<i32>("k").await.unwrap(), None);
    assert!(users.get_many::<i32, _>(["k"]).await.unwrap().is_empty());
    assert!(!users.has_key("k").await.unwrap());
    assert_eq!(users.ttl("k").await.unwrap(), None);
    assert!(!users.touch("k", SECOND).await.unwrap());
    let strict = users.strict();
    assert_eq!(kind(strict.get::<i32>("k").await), DOWN);
    assert_eq!(kind(strict.get_many::<i32, _>(["k"]).await), DOWN);
    assert_eq!(kind(strict.has_key("k").await), DOWN);
    assert_eq!(kind(strict.ttl("k").await), DOWN);
    assert_eq!(kind(strict.touch("k", SECOND).await), DOWN);
    world.store.heal();
    assert_eq!(users.get::<i32>("k").await.unwrap(), Some(1), "reads changed nothing");
}

#[tokio::test]
async fn calls_that_never_fail_open_return_the_error() {
    let (world, users) = world().await;
    marker_fails(&world);
    assert_eq!(kind(users.add("a", &1, Timeout::Never).await), DOWN);
    assert_eq!(kind(users.replace("k", &2, Timeout::Never).await), DOWN);
    assert_eq!(kind(users.pop::<i32>("k").await), DOWN);
    assert_eq!(kind(users.incr("k", 1).await), DOWN);
    assert_eq!(kind(users.incr_or("k", 1, 0, Timeout::Never).await), DOWN);
    assert_eq!(kind(users.update("k", Timeout::Never, |n: i32| n + 1).await), DOWN);
    assert_eq!(kind(users.incr_version("k", 1).await), DOWN);
    world.store.heal();
    assert_eq!(users.get::<i32>("k").await.unwrap(), Some(1), "they changed nothing");
}

/// In strict mode the caller has the error, and can act on it. Otherwise the old entry must not be
/// served after the outage.
#[tokio::test]
async fn entry_of_a_write_that_failed_open_is_not_served_later() {
    for call in ["set", "delete", "set_many", "delete_many"] {
        for strict in [true, false] {
            let (world, users) = world().await;
            users.set("other", &7, Timeout::Never).await.unwrap();
            let handle = if strict { users.strict() } else { users.clone() };
            marker_fails(&world);
            let res: Result<()> = match call {
                "set" => handle.set("k", &2, Timeout::Never).await,
                "delete" => handle.delete("k").await.map(drop),
                "set_many" => {
                    let failed = handle.set_many([("k", 2)], Timeout::Never).await.unwrap();
                    assert_eq!((&*failed[0].key, failed.len()), ("k", 1), "all are listed");
                    if strict { failed.into_result() } else { Ok(()) }
                }
                _ => handle.delete_many(["k"]).await.map(drop),
            };
            assert_eq!(res.is_err(), strict, "{call}");
            world.store.heal();
            let found = users.get::<i32>("k").await.unwrap();
            assert_eq!(found, strict.then_some(1), "{call}");
            assert_eq!(users.get::<i32>("other").await.unwrap(), Some(7), "{call}");
            users.set("k", &3, Timeout::Never).await.unwrap();
            assert_eq!(users.get::<i32>("k").await.unwrap(), Some(3));
        }
    }
}

/// The generation that this process remembers is not the one under which the old entry is.
#[tokio::test]
async fn deleted_entry_of_a_newer_generation_is_not_served_later() {
    for nested in [false, true] {
        let world = World::new();
        let in_namespace = |cache: &Cache| {
            let users = cache.namespace("users").unwrap();
            if nested { users.namespace("eu").unwrap() } else { users }
        };
        let (users, other) = (in_namespace(&world.cache()), world.cache());
        users.set("k", &1, Timeout::Never).await.unwrap();
        assert!(users.has_key("k").await.unwrap());
        other.namespace("users").unwrap().clear().await.unwrap();
        in_namespace(&other).set("k", &2, Timeout::Never).await.unwrap();
        marker_fails(&world);
        assert!(!users.delete("k").await.unwrap(), "it fails open");
        assert_eq!(users.get::<i32>("k").await.unwrap(), None);
        world.store.heal();
        assert_eq!(users.get::<i32>("k").await.unwrap(), None, "nested: {nested}");
        assert!(!in_namespace(&other).has_key("k").await.unwrap());
    }
}

#[tokio::test]
async fn load_that_began_before_a_delete_that_failed_open_stores_nothing() {
    let (world, users) = world().await;
    let (began, go_on) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let load = users.get_or_set("new", Timeout::Never, || async {
        began.notify_one();
        go_on.notified().await;
        1
    });
    let delete = async {
        began.notified().await;
        world.time.advance(SECOND);
        marker_fails(&world);
        assert!(!users.delete("new").await.unwrap(), "it fails open");
        world.store.heal();
        assert_eq!(users.get::<i32>("new").await.unwrap(), None);
        go_on.notify_one();
    };
    let (loaded, ()) = tokio::join!(load, delete);
    assert_eq!(loaded.unwrap(), 1, "for its caller");
    assert_eq!(users.get::<i32>("new").await.unwrap(), None);
}

#[tokio::test]
async fn entry_of_a_delete_that_failed_open_is_deleted_without_a_call_that_needs_it() {
    let (world, users) = world().await;
    let other = world.cache().namespace("users").unwrap();
    other.set("stays", &1, Timeout::Never).await.unwrap();
    marker_fails(&world);
    assert!(!users.delete("k").await.unwrap());
    for _ in 0..3 {
        advance(&world).await;
    }
    world.store.heal();
    while other.has_key("k").await.unwrap() {
        advance(&world).await;
    }
    assert!(other.has_key("stays").await.unwrap());
}

#[tokio::test]
async fn loads_go_on_and_store_nothing_while_the_generation_cannot_be_read() {
    let (world, users) = world().await;
    marker_fails(&world);
    let writes = world.store.calls(Operation::Set);
    assert_eq!(users.get_or_set("new", Timeout::Never, async || 5).await.unwrap(), 5);
    let found = users.get_or_set_many(["new"], Timeout::Never, async |_| [("new", 6)]).await;
    assert_eq!(found.unwrap(), [("new", 6)].into());
    for forced in [false, true] {
        let fetch = users.fetch("new");
        let fetch = if forced { fetch.force() } else { fetch };
        let load = |_| async { Ok::<_, ErrorKind>(Loaded::Value(7)) };
        let fetched = fetch.outcome(load).await.unwrap();
        assert_eq!(fetched.value, Some(7));
        assert!(matches!(fetched.outcome, FetchOutcome::MissByError { .. }), "{forced}");
    }
    assert_eq!(world.store.calls(Operation::Set), writes);
    let strict = users.strict();
    let not_loaded = async || -> i32 { panic!("loaded") };
    assert_eq!(kind(strict.get_or_set("new", Timeout::Never, not_loaded).await), DOWN);
    let load = |_| async { Err::<i32, _>(ErrorKind::Codec) };
    assert_eq!(kind(strict.fetch("new").load(load).await), DOWN);
    assert_eq!(kind(strict.fetch("new").force().load(load).await), DOWN);
    world.store.heal();
    assert_eq!(users.get::<i32>("new").await.unwrap(), None);
}

/// Two callers of a key share the load of an outage, and a `set` in between ends that.
#[tokio::test]
async fn load_of_an_outage_is_shared_until_a_write() {
    let (world, users) = world().await;
    marker_fails(&world);
    let (began, go_on) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let load = |value: i32| {
        let (began, go_on) = (&began, &go_on);
        async move || {
            began.notify_one();
            go_on.notified().await;
            value
        }
    };
    let first = users.get_or_set("new", Timeout::Never, load(1));
    let second = async {
        began.notified().await;
        let shared = users.get_or_set("new", Timeout::Never, load(2));
        let after = async {
            users.set("new", &9, Timeout::Never).await.unwrap();
            let own = users.get_or_set("new", Timeout::Never, load(3));
            let release = async {
                began.notified().await;
                go_on.notify_waiters();
            };
            tokio::join!(own, release).0.unwrap()
        };
        let (shared, own) = tokio::join!(shared, after);
        (shared.unwrap(), own)
    };
    let (first, (shared, own)) = tokio::join!(first, second);
    assert_eq!((first.unwrap(), shared, own), (1, 1, 3));
}

#[tokio::test]
async fn failed_clear_is_an_error_and_makes_misses_until_it_succeeds() {
    for lost_reply in [false, true] {
        let (world, users) = world().await;
        assert!(users.has_key("k").await.unwrap());
        world.store.inject(move |call: &Call<'_>| match call.operation {
            Operation::SetMany if lost_reply => Fault::ErrorAfter(DOWN),
            Operation::SetMany => Fault::Error(DOWN),
            _ => Fault::None,
        });
        assert_eq!(kind(users.clear().await), DOWN);
        assert_eq!(kind(users.strict().get::<i32>("k").await), DOWN);
        assert_eq!(users.get::<i32>("k").await.unwrap(), None);
        // Another handle, of another version.
        assert!(!users.at_version(1).bytes().has_key("k").await.unwrap());
        assert_eq!(kind(users.add("k", &2, Timeout::Never).await), DOWN);
        world.store.heal();
        assert!(users.strict().add("k", &2, Timeout::Never).await.unwrap());
        let other = world.cache().namespace("users").unwrap();
        assert_eq!(other.get::<i32>("k").await.unwrap(), Some(2));
    }
}

#[tokio::test]
async fn failed_clear_is_completed_without_a_call_that_needs_it() {
    let (world, users) = world().await;
    let other = world.cache().namespace("users").unwrap();
    world.store.inject(|call| match call.operation {
        Operation::SetMany => Fault::Error(DOWN),
        _ => Fault::None,
    });
    assert_eq!(kind(users.clear().await), DOWN);
    assert!(other.has_key("k").await.unwrap(), "the other process does not know it");
    let tries = world.store.calls(Operation::SetMany);
    while world.store.calls(Operation::SetMany) < tries + 3 {
        advance(&world).await;
    }
    world.store.heal();
    while other.has_key("k").await.unwrap() {
        advance(&world).await;
    }
    // The task ends.
    let calls = world.store.calls(Operation::SetMany);
    for _ in 0..10 {
        advance(&world).await;
    }
    assert_eq!(world.store.calls(Operation::SetMany), calls);
}

/// Moves the clock, and lets the library's own runtime run.
async fn advance(world: &World) {
    world.time.advance(SECOND);
    // sleeps: the background task runs on another thread, which a moved clock wakes
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
}

#[tokio::test]
async fn dropped_clear_is_completed() {
    let (world, users) = world().await;
    assert!(users.has_key("k").await.unwrap());
    let held = world.store.hold(Operation::SetMany);
    let clear = tokio::spawn({
        let users = users.clone();
        async move { users.clear().await }
    });
    world.store.arrived(Operation::SetMany, 1).await;
    clear.abort();
    run_tasks().await;
    held.release();
    assert!(!users.has_key("k").await.unwrap(), "the clear may have taken effect");
}

/// The clear of the alias removes the entries themselves.
#[tokio::test]
async fn clear_of_the_alias_removes_its_namespaces() {
    let (world, users) = world().await;
    let cache = world.cache();
    users.namespace("eu").unwrap().set("k", &2, Timeout::Never).await.unwrap();
    cache.clear().await.unwrap();
    assert!(!users.has_key("k").await.unwrap());
    users.clear().await.unwrap();
    assert_eq!(users.get::<i32>("k").await.unwrap(), None);
}
