//! The calls of the store, refused settings, and failures.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use cache_core::{
    Cache, ErrorKind, Keyspace, Timeout,
    layer::Operation,
    store::{Backend as _, Expiry, Inline, SetMode, SyncBackend as _},
    testing::{FakeClock, Fault, Faulty, Model},
};

use crate::{HOUR, MINUTE, SECOND, get, processes, row, run_tasks, world};

/// The calls of the store that `run` makes.
async fn calls<F: Future>(store: &Faulty, run: F) -> Vec<(Operation, u64)> {
    let count =
        || Operation::ALL.iter().map(|it| (*it, store.calls(*it))).collect::<HashMap<_, _>>();
    let before = count();
    run.await;
    run_tasks().await;
    let made = |it: &Operation| (*it, store.calls(*it) - before[it]);
    Operation::ALL.iter().map(made).filter(|(_, count)| *count > 0).collect()
}

/// Each round trip takes as long as the store holds its calls.
#[tokio::test]
async fn new_key_costs_one_round_trip_and_another_one_two() {
    use Operation::{Add, Get, Update};
    let (cache, store, _) = world();
    let set = |revision: u64| {
        let cache = cache.clone();
        async move { cache.set_revision("k", &1, revision, MINUTE).await.unwrap() }
    };
    let held = [Get, Add].map(|it| store.hold(it));
    let new = tokio::spawn(set(5));
    store.arrived(Get, 1).await;
    store.arrived(Add, 1).await;
    drop(held);
    assert!(new.await.unwrap(), "read and add are under way at once");
    // The read and the add are one round trip, and the compare-and-set is another one.
    assert_eq!(calls(&store, set(6)).await, [(Get, 1), (Add, 1), (Update, 1)]);
    assert_eq!(calls(&store, set(4)).await, [(Get, 1), (Add, 1)], "too old");
    // A large value is not sent twice.
    let large = "x".repeat(20_000);
    let set = cache.set_revision("k", &large, 7, MINUTE);
    assert_eq!(calls(&store, set).await, [(Get, 1), (Update, 1)]);
    let delete = cache.delete_revision("k", 8, MINUTE);
    assert_eq!(calls(&store, delete).await, [(Get, 1), (Add, 1), (Update, 1)]);
}

#[tokio::test]
async fn load_costs_as_many_round_trips_as_without_revisions() {
    use Operation::{Add, Get, GetMany, Set};
    let ([plain], plain_store, _) = processes(|it| it.revisions(false));
    let (cache, store, _) = world();
    let set =
        |cache: Cache| async move { cache.get_or_set("a", MINUTE, || async { 1 }).await.unwrap() };
    assert_eq!(calls(&plain_store, set(plain.clone())).await, [(Get, 1), (Set, 1)]);
    assert_eq!(calls(&store, set(cache.clone())).await, [(Get, 1), (Add, 1)], "a miss");
    assert_eq!(calls(&store, set(cache.clone())).await, [(Get, 1)], "a hit");
    let fetch = cache.fetch("b").load(row(1, 5));
    assert_eq!(calls(&store, fetch).await, [(Get, 1), (Add, 1)]);
    let load = |missing: Vec<&'static str>| async { missing.into_iter().map(|it| (it, 7)) };
    let batch = cache.get_or_set_many(["a", "c", "d"], MINUTE, load);
    assert_eq!(calls(&store, batch).await, [(GetMany, 1), (Add, 2)]);
    assert_eq!(calls(&store, cache.set("k", &1, MINUTE)).await, [(Set, 1)], "set");
}

#[tokio::test]
async fn cache_without_the_setting_refuses_revisions() {
    static USERS: Keyspace<u64, u64> = Keyspace::new("user").revision(|it| *it);
    let cache = Cache::new("test", Model::default());
    let errors = [
        cache.set_revision("k", &1, 5, MINUTE).await.unwrap_err(),
        cache.delete_revision("k", 5, MINUTE).await.unwrap_err(),
        cache.fetch("k").revision(5).prime(&1).await.unwrap_err(),
        cache.fetch("k").load(row(1, 5)).await.unwrap_err(),
        USERS.set(&cache, &1, &1).await.unwrap_err(),
        USERS.get(&cache, &1).await.unwrap_err(),
        USERS.set_revision(&cache, &1, &1, 5).await.unwrap_err(),
        USERS.delete_revision(&cache, &1, 5, MINUTE).await.unwrap_err(),
    ];
    for (call, error) in errors.iter().enumerate() {
        assert_eq!(error.kind(), ErrorKind::Config, "call {call}: {error}");
        assert!(error.message().contains("`revisions = true`"), "call {call}: {error}");
    }
    assert_eq!(errors[0].context("operation"), Some("set_revision"));
    assert_eq!(errors[1].context("operation"), Some("delete_revision"));
}

/// A rolling deploy: the setting is not everywhere yet.
#[tokio::test]
async fn cache_without_the_setting_takes_a_revision_for_a_miss() {
    let ([with], store, time) = processes(|it| it);
    let without = Cache::builder(store).clock(time.clock()).build("test").unwrap();
    assert!(with.set_revision("k", &1, 5, MINUTE).await.unwrap());
    assert_eq!(get(&without).await, None);
    let error = without.strict().get::<u32>("k").await.unwrap_err();
    assert!(error.message().contains("`revisions`"), "{error}");
    without.set("k", &2, MINUTE).await.unwrap();
    assert_eq!(get(&with).await, Some(2));
}

#[tokio::test]
async fn failures_are_returned_and_typed_sets_fail_open() {
    static USERS: Keyspace<u64, u64> = Keyspace::new("user").revision(|it| *it);
    let (cache, store, _) = world();
    USERS.set(&cache, &1, &1).await.unwrap();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let error = cache.set_revision("k", &1, 5, MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = cache.delete_revision("k", 5, MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    USERS.set(&cache, &1, &2).await.unwrap();
    let failures = USERS.set_many(&cache, [(2, 2), (3, 3)]).await.unwrap();
    assert_eq!(failures.len(), 2);
    store.heal();
    assert_eq!(USERS.get(&cache, &1).await.unwrap(), None, "the old value after the failed set");
    assert_eq!(cache.stats().revisions_refused, 0);
}

/// The delete that an outage left over leaves a floor that another process wrote meanwhile.
#[tokio::test]
async fn pending_delete_leaves_a_floor() {
    let ([one, two], store, _) = processes(|it| it);
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert!(!one.delete("k").await.unwrap());
    store.heal();
    assert!(two.delete_revision("k", 5, HOUR).await.unwrap());
    assert_eq!(get(&one).await, None);
    run_tasks().await;
    assert_eq!(one.stats().tombstones, 0, "the delete is done");
    assert!(!one.set_revision("k", &1, 5, MINUTE).await.unwrap(), "the floor is left");
}

#[tokio::test]
async fn value_that_is_too_large_leaves_no_older_value_and_keeps_a_floor() {
    let (cache, store, _) = world();
    cache.set_revision("k", &1, 5, MINUTE).await.unwrap();
    store.inject(|call| match call.operation {
        Operation::Update => Fault::Error(ErrorKind::TooLarge),
        _ => Fault::None,
    });
    let error = cache.set_revision("k", &2, 6, MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get(":1:k").await.unwrap(), None);
    store.heal();
    cache.delete_revision("k", 5, MINUTE).await.unwrap();
    store.inject(|call| match call.operation {
        Operation::Update => Fault::Error(ErrorKind::TooLarge),
        _ => Fault::None,
    });
    cache.set_revision("k", &2, 6, MINUTE).await.unwrap_err();
    store.heal();
    assert!(!cache.set_revision("k", &1, 5, MINUTE).await.unwrap(), "the floor is left");
}

/// Another process changes the key before each compare-and-set.
#[tokio::test]
async fn write_that_always_loses_ends_at_the_deadline() {
    let time = FakeClock::new();
    let inner = Arc::new(Model::new(time.clock()));
    let store = Faulty::new(Arc::new(Inline::from_arc(Arc::clone(&inner))));
    let cache = Cache::builder(store.clone()).clock(time.clock()).revisions(true);
    let cache = cache.build("test").unwrap();
    cache.set_revision("k", &1, 5, MINUTE).await.unwrap();
    let (other, count) = (inner, AtomicU64::new(6));
    store.inject(move |call| {
        if call.operation == Operation::Update {
            let n = count.fetch_add(1, SeqCst);
            let text = format!("\"{n}\"").into();
            other.set(":1:k", text, Expiry::After(HOUR), SetMode::Always).unwrap();
        }
        Fault::None
    });
    let writing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set_revision("k", &2, 6, MINUTE).await }
    });
    for _ in 0..1000 {
        run_tasks().await;
        time.advance(SECOND / 100);
    }
    assert!(writing.is_finished(), "no end");
    let error = writing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.message().contains("concurrent"), "{error}");
    assert!(store.calls(Operation::Update) > 5, "tries");
    store.heal();
    assert!(cache.set_revision("k", &2, 6, Timeout::Default).await.unwrap());
}
