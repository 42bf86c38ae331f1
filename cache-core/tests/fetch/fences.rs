//! Fenced loads: their calls of the store, their errors, and caches without the setting. The
//! conformance suite checks what several processes see.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use cache_core::{
    Cache, ErrorKind, FetchOutcome, FetchSettings, Timeout, Ttl,
    layer::Operation,
    store::{Backend, Expiry, Inline, SetMode},
    testing::{FakeClock, Fault, Faulty, Model},
};

use tokio::sync::Notify;

use crate::{HOUR, MINUTE, SECOND, Source, fails, run_tasks, value, world_with};

fn fenced() -> (Faulty, Cache, FakeClock) {
    world_with(|it| it.fenced = Some(true))
}

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

#[tokio::test]
async fn fenced_load_costs_one_call_more_per_miss_and_none_per_hit() {
    use Operation::{Add, Get, Set, Update};
    let (plain_store, plain, _) = world_with(|it| it.grace = None);
    let (store, cache, _) = world_with(|it| (it.grace, it.fenced) = (None, Some(true)));
    let set =
        |cache: Cache| async move { cache.get_or_set("a", MINUTE, || async { 1 }).await.unwrap() };
    let fetch = |cache: Cache| async move { cache.fetch("b").load(value(1)).await.unwrap() };
    for (name, unfenced, fenced) in [
        ("a miss", vec![(Get, 1), (Set, 1)], vec![(Get, 1), (Add, 1), (Update, 1)]),
        ("a hit", vec![(Get, 1)], vec![(Get, 1)]),
    ] {
        assert_eq!(calls(&plain_store, set(plain.clone())).await, unfenced, "{name}: get_or_set");
        assert_eq!(calls(&store, set(cache.clone())).await, fenced, "{name}: get_or_set, fenced");
        assert_eq!(calls(&plain_store, fetch(plain.clone())).await, unfenced, "{name}: fetch");
        assert_eq!(calls(&store, fetch(cache.clone())).await, fenced, "{name}: fetch, fenced");
    }
    let get = |cache: Cache| async move { cache.get::<u32>("a").await.unwrap() };
    assert_eq!(calls(&store, get(cache.clone())).await, [(Get, 1)], "get");
    assert_eq!(calls(&store, cache.delete("a")).await, [(Operation::Pop, 1)], "delete");
}

#[tokio::test]
async fn fenced_refresh_costs_one_call_more_and_a_batch_two_for_each_missing_key() {
    use Operation::{Add, Get, GetMany, Update};
    let (store, cache, time) = fenced();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let refresh = calls(&store, cache.fetch("k").load(value(2))).await;
    // The read that found the stale value, and the fence of the refresh.
    assert_eq!(refresh, [(Get, 2), (Update, 1)]);
    assert_eq!(cache.fetch("k").load(value(3)).await.unwrap(), 2);
    let load = |missing: Vec<&'static str>| async { missing.into_iter().map(|it| (it, 7)) };
    let batch = cache.get_or_set_many(["a", "b", "k"], Timeout::Default, load);
    assert_eq!(calls(&store, batch).await, [(GetMany, 1), (Add, 2), (Update, 2)]);
    let batch = cache.get_or_set_many(["a", "b", "k"], Timeout::Default, load);
    assert_eq!(calls(&store, batch).await, [(GetMany, 1)], "hits");
}

#[tokio::test]
async fn lease_lives_for_the_load_deadline() {
    let (store, cache, _) = fenced();
    let source = Source::default();
    let load = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(1));
        async move { cache.fetch("k").load_deadline(20 * SECOND).outcome(load).await }
    });
    source.began.notified().await;
    let lease = store.get_entry(":1:k").await.unwrap().unwrap();
    assert_eq!(lease.ttl, Ttl::Remaining(20 * SECOND));
    assert!(lease.value.starts_with(b"\xc1\xca"));
    assert_eq!(lease.value.len(), 36);
    source.go_on.notify_one();
    assert_eq!(load.await.unwrap().unwrap().value, Some(1));
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn lease_that_cannot_be_written_costs_only_that_the_value_is_not_stored() {
    let (store, cache, _) = fenced();
    store.inject(|call| match call.operation {
        Operation::Add => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    assert_eq!(cache.get_or_set("k", MINUTE, || async { 1 }).await.unwrap(), 1);
    assert_eq!(cache.strict().fetch("k").load(value(2)).await.unwrap(), 2);
    let load = |_| async { [("k", 3)] };
    let found = cache.get_or_set_many(["k"], MINUTE, load).await.unwrap();
    assert_eq!(found, [("k", 3)].into());
    assert_eq!(store.calls(Operation::Update), 0, "values that were stored");
    assert_eq!(cache.stats().load_writes_failed, 3);
    store.heal();
    assert_eq!(cache.get_or_set("k", MINUTE, || async { 4 }).await.unwrap(), 4);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(4));
}

#[tokio::test]
async fn value_that_the_store_refuses_leaves_neither_a_lease_nor_an_old_value() {
    let (store, cache, time) = fenced();
    let refuse = |kind| {
        store.inject(move |call| match call.operation {
            Operation::Update => Fault::Error(kind),
            _ => Fault::None,
        });
    };
    for kind in [ErrorKind::TooLarge, ErrorKind::Backend] {
        refuse(kind);
        assert_eq!(cache.get_or_set("k", MINUTE, || async { 1 }).await.unwrap(), 1);
        assert_eq!(store.get(":1:k").await.unwrap(), None, "{kind:?}: the lease");
    }
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    refuse(ErrorKind::Backend);
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 1, "the stale value");
    run_tasks().await;
    assert!(store.get(":1:k").await.unwrap().is_some(), "the stale value stays");
    refuse(ErrorKind::TooLarge);
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 1, "the stale value");
    run_tasks().await;
    assert_eq!(store.get(":1:k").await.unwrap(), None, "an old value behind one that is too large");
}

/// The lease of a caller that left does not delay the next caller of the process.
#[tokio::test]
async fn waiter_takes_the_lease_of_a_dropped_leader_over_at_once() {
    let (store, cache, _) = fenced();
    // Of the dropped leader: the next caller does not wait for it.
    let release = store.hold(Operation::CompareAndDelete);
    let mut leader = Box::pin(cache.get_or_set("k", MINUTE, std::future::pending::<u32>));
    let add = store.arrived(Operation::Add, 1);
    tokio::select! {
        _ = &mut leader => panic!("the loader never ends"),
        () = add => {}
    }
    let waiter = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", MINUTE, || async { 2 }).await }
    });
    run_tasks().await;
    drop(leader);
    assert_eq!(waiter.await.unwrap().unwrap(), 2);
    release.release();
    store.arrived(Operation::CompareAndDelete, 1).await;
    run_tasks().await;
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2), "the late release");
}

#[tokio::test]
async fn setting_false_allows_single_fetches_to_be_fenced() {
    let (store, cache, _) = world_with(|it| it.fenced = Some(false));
    assert_eq!(cache.fetch("a").load(value(1)).await.unwrap(), 1);
    assert_eq!(store.calls(Operation::Add), 0);
    assert_eq!(cache.fetch("b").fenced().load(value(1)).await.unwrap(), 1);
    assert_eq!(store.calls(Operation::Add), 1);
}

/// A rolling deploy: the setting is not everywhere yet.
#[tokio::test]
async fn cache_without_the_setting_takes_a_lease_for_a_miss() {
    let time = FakeClock::new();
    let store: Arc<dyn Backend> = Arc::new(Inline::new(Model::new(time.clock())));
    let build = |settings: FetchSettings| {
        Cache::builder(Arc::clone(&store))
            .clock(time.clock())
            .fetch(settings)
            .build("test")
            .unwrap()
    };
    let mut fenced = FetchSettings::default();
    fenced.fenced = Some(true);
    let (with, without) = (build(fenced), build(FetchSettings::default()));
    let grace = build(FetchSettings::with_grace(HOUR));
    let source = Source::default();
    let load = tokio::spawn({
        let load = source.slow(1);
        async move { with.fetch("k").outcome(load).await }
    });
    source.began.notified().await;
    assert_eq!(without.get::<u32>("k").await.unwrap(), None);
    assert_eq!(without.stats().undecodable, 1);
    let error = without.strict().get::<u32>("k").await.unwrap_err();
    assert!(error.message().contains("`fenced`"), "{error}");
    assert_eq!(grace.strict().get::<u32>("k").await.unwrap(), None, "it knows leases");
    assert_eq!(without.get_or_set("k", MINUTE, || async { 2 }).await.unwrap(), 2);
    source.go_on.notify_one();
    let late = load.await.unwrap().unwrap();
    assert!(matches!(late.outcome, FetchOutcome::Loaded { .. }), "{late:?}");
    assert_eq!((late.value, without.get::<u32>("k").await.unwrap()), (Some(1), Some(2)));
}

/// A load of `get_or_set` overwrites bytes that it cannot read, and so does a fenced one.
#[tokio::test]
async fn fenced_load_replaces_bytes_that_do_not_decode() {
    let (store, cache, _) = fenced();
    for call in 0..3 {
        let text = Bytes::from_static(b"\"text\"");
        store.set(":1:k", text, Expiry::After(HOUR), SetMode::Always).await.unwrap();
        match call {
            0 => {
                cache.get_or_set("k", MINUTE, || async { 7 }).await.unwrap();
            }
            1 => {
                cache.fetch("k").load(value(7)).await.unwrap();
            }
            _ => {
                cache.get_or_set_many(["k"], MINUTE, |_| async { [("k", 7)] }).await.unwrap();
            }
        }
        assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(7), "call {call}");
    }
}

#[tokio::test]
async fn batch_removes_the_stale_value_of_a_key_without_a_value_and_no_newer_one() {
    let (store, cache, time) = fenced();
    let other = Cache::builder(store).clock(time.clock()).build("test").unwrap();
    for key in ["removed", "newer"] {
        cache.fetch(key).prime(&1).await.unwrap();
    }
    time.advance(2 * MINUTE);
    let load = |_| async {
        other.set("newer", &2, MINUTE).await.unwrap();
        HashMap::<&str, i32>::new()
    };
    let found = cache.get_or_set_many(["removed", "newer"], MINUTE, load).await.unwrap();
    assert_eq!(found, HashMap::new());
    let removed = cache.fetch("removed").load(fails::<u32>()).await;
    assert_eq!(removed.unwrap_err().kind(), ErrorKind::Loader, "the old value is left");
    assert_eq!(cache.get::<i32>("newer").await.unwrap(), Some(2));
}

/// Returns caches that share a store and nothing else, as caches of several processes do.
fn processes<const N: usize>() -> ([Cache; N], Faulty, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let mut settings = FetchSettings::default();
    settings.fenced = Some(true);
    let process = || Cache::builder(store.clone()).clock(time.clock()).fetch(settings);
    ([(); N].map(|()| process().build("test").unwrap()), store, time)
}

#[tokio::test]
async fn lease_of_a_successor_is_not_taken_over() {
    let ([dead, one, two, reader], _, time) = processes();
    let sources = [1, 2, 3].map(|_| Source::default());
    let begin = |cache: Cache, source: &Source, value: u32| {
        let load = source.slow(value);
        tokio::spawn(async move { cache.fetch("k").outcome(load).await.map(|it| it.value) })
    };
    let _hangs = begin(dead, &sources[0], 0);
    run_tasks().await;
    time.advance(SECOND);
    let callers = [begin(one, &sources[1], 1), begin(two, &sources[2], 2)];
    let loading = async |count| {
        while sources[1].count() + sources[2].count() < count {
            time.advance(SECOND / 10);
            run_tasks().await;
        }
    };
    // When the lease of the dead process ends, one of the waiting processes gets the key.
    loading(1).await;
    let (first, second) = if sources[1].count() == 1 { (1, 2) } else { (2, 1) };
    // Then the wait of the other one ends.
    loading(2).await;
    for ended in [second, first] {
        sources[ended].go_on.notify_one();
        run_tasks().await;
    }
    for (caller, value) in callers.into_iter().zip([1, 2]) {
        assert_eq!(caller.await.unwrap().unwrap(), Some(value));
    }
    let stored = reader.get::<usize>("k").await.unwrap();
    assert_eq!(stored, Some(first), "the value of the process that had the lease");
}

#[tokio::test]
async fn keys_whose_load_failed_in_another_process_share_one_load() {
    let ([theirs, ours], store, time) = processes();
    let keys = ["a", "b", "c"];
    let go_on = Arc::new(Notify::new());
    let failing = tokio::spawn({
        let go_on = Arc::clone(&go_on);
        let load = move |_| {
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.notified().await;
                Err::<HashMap<&str, u32>, _>(io::Error::other("db down"))
            }
        };
        async move { theirs.get_or_try_set_many(keys, MINUTE, load).await }
    });
    store.arrived(Operation::Add, 3).await;
    let loads = Arc::new(AtomicUsize::new(0));
    let waiting = tokio::spawn({
        let loads = Arc::clone(&loads);
        let load = move |missing: Vec<&'static str>| {
            loads.fetch_add(1, SeqCst);
            async move { missing.into_iter().map(|it| (it, 1)).collect::<HashMap<_, u32>>() }
        };
        async move { ours.get_or_set_many(keys, MINUTE, load).await }
    });
    run_tasks().await;
    assert_eq!(loads.load(SeqCst), 0, "the other process loads");
    go_on.notify_one();
    failing.await.unwrap().unwrap_err();
    time.advance(SECOND);
    assert_eq!(waiting.await.unwrap().unwrap(), keys.map(|it| (it, 1)).into());
    assert_eq!(loads.load(SeqCst), 1);
}

#[tokio::test]
async fn load_that_a_delete_ended_does_not_take_the_lease_of_the_next_load() {
    let ([theirs, ours], _, time) = processes();
    let sources = [1, 2, 3].map(|_| Source::default());
    let begin = |cache: &Cache, source: &Source, value: u32| {
        let (cache, load) = (cache.clone(), source.slow(value));
        tokio::spawn(async move { cache.fetch("k").outcome(load).await.map(|it| it.value) })
    };
    let _hangs = begin(&theirs, &sources[0], 0);
    run_tasks().await;
    // It waits for the lease of the other process.
    let ended = begin(&ours, &sources[1], 1);
    run_tasks().await;
    assert_eq!(sources[1].count(), 0);
    ours.delete("k").await.unwrap();
    let next = begin(&ours, &sources[2], 2);
    sources[2].began.notified().await;
    time.advance(SECOND);
    run_tasks().await;
    for source in &sources[1..] {
        source.go_on.notify_one();
    }
    assert_eq!(next.await.unwrap().unwrap(), Some(2));
    assert_eq!(ended.await.unwrap().unwrap(), Some(1));
    assert_eq!(theirs.get::<u32>("k").await.unwrap(), Some(2), "the value after the delete");
}

#[tokio::test]
async fn touch_does_not_prolong_a_lease_that_replaced_the_value() {
    let ([one, two], store, _) = processes();
    one.set("k", &1, MINUTE).await.unwrap();
    let held = [Operation::Touch, Operation::Update].map(|it| store.hold(it));
    let touching = tokio::spawn({
        let cache = one.clone();
        async move { cache.touch("k", HOUR).await }
    });
    run_tasks().await;
    two.delete("k").await.unwrap();
    let source = Source::default();
    let loading = tokio::spawn({
        let load = source.slow(2);
        async move { two.fetch("k").outcome(load).await }
    });
    source.began.notified().await;
    drop(held);
    assert!(!touching.await.unwrap().unwrap(), "the key was missing");
    let Some(Ttl::Remaining(left)) = store.ttl(":1:k").await.unwrap() else { panic!("no lease") };
    assert!(left <= MINUTE, "{left:?}");
    source.go_on.notify_one();
    assert_eq!(loading.await.unwrap().unwrap().value, Some(2));
}
