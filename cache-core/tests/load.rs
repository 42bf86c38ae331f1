//! Reading through, as callers see it: one load per key, and what ends it otherwise. The interleavings are
//! checked in `flight_model.rs`; here it is the whole cache over a store that may wait.

#![allow(missing_docs)]

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Backend, Cache, ErrorKind, Expiry, Inline, SetMode, Timeout, Ttl,
    layers::Operation,
    secs,
    testing::{FakeClock, Fault, Faulty, Model},
};
use tokio::sync::{Barrier, Notify, oneshot};

/// A store whose calls can be held back, and a cache over it.
fn world() -> (Faulty, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build("test").unwrap();
    (store, cache, time)
}

/// Loads that can be counted, begin when they are told of and end when they are let.
#[derive(Clone, Default)]
struct Source {
    loads: Arc<AtomicUsize>,
    began: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Source {
    async fn load(self, value: u32) -> Result<u32, io::Error> {
        self.loads.fetch_add(1, SeqCst);
        self.began.notify_one();
        self.go_on.notified().await;
        Ok(value)
    }

    fn count(&self) -> usize {
        self.loads.load(SeqCst)
    }
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

fn spawn_load(
    cache: &Cache,
    source: &Source,
    value: u32,
) -> tokio::task::JoinHandle<cache_core::Result<u32>> {
    let (cache, source) = (cache.clone(), source.clone());
    tokio::spawn(async move { cache.get_or_try_set("k", secs(60), || source.load(value)).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_callers_make_one_load() {
    for round in 0..100 {
        let (_, cache, _) = world();
        let loads = Arc::new(AtomicUsize::new(0));
        let barrier = Arc::new(Barrier::new(16));
        let callers: Vec<_> = (0..16)
            .map(|n| {
                let (cache, loads, barrier) =
                    (cache.clone(), Arc::clone(&loads), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    cache
                        .get_or_set("k", secs(60), || async {
                            loads.fetch_add(1, SeqCst);
                            tokio::task::yield_now().await;
                            n
                        })
                        .await
                })
            })
            .collect();
        let mut values = Vec::new();
        for caller in callers {
            values.push(caller.await.unwrap().unwrap());
        }
        assert_eq!(loads.load(SeqCst), 1, "round {round}");
        assert!(values.iter().all(|it| *it == values[0]), "{values:?}");
        assert_eq!(cache.stats().active_loads, 0);
    }
}

#[tokio::test]
async fn an_error_reaches_all_who_wait_and_stores_nothing() {
    let (_, cache, _) = world();
    let (fail, failed) = oneshot::channel::<()>();
    let leader = {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache
                .get_or_try_set::<u32, _, _>("k", secs(60), || async {
                    let _ = failed.await;
                    Err(io::Error::other("db down"))
                })
                .await
        })
    };
    settle().await;
    let source = Source::default();
    let waiters: Vec<_> = (0..3).map(|_| spawn_load(&cache, &source, 1)).collect();
    settle().await;
    fail.send(()).unwrap();
    for caller in [leader].into_iter().chain(waiters) {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Loader);
        assert_eq!(error.loader::<io::Error>().unwrap().to_string(), "db down");
        assert_eq!(error.context("alias"), Some("test"));
    }
    assert_eq!(source.count(), 0, "a waiter loaded again");
    assert!(!cache.has_key("k").await.unwrap());
    assert_eq!(
        cache.get_or_set("k", secs(60), || async { 2 }).await.unwrap(),
        2,
        "the next caller loads"
    );
}

#[tokio::test]
async fn when_the_leader_is_dropped_the_next_one_loads() {
    let (_, cache, _) = world();
    let (first, second) = (Source::default(), Source::default());
    let leader = spawn_load(&cache, &first, 1);
    first.began.notified().await;
    let waiters: Vec<_> = (0..3).map(|_| spawn_load(&cache, &second, 2)).collect();
    settle().await;
    leader.abort();
    second.began.notified().await;
    second.go_on.notify_one();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), 2);
    }
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[tokio::test]
async fn when_the_loader_panics_the_next_one_loads() {
    let (_, cache, _) = world();
    let (panic, panicked) = oneshot::channel::<()>();
    let leader = {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache
                .get_or_set::<u32, _>("k", secs(60), || async {
                    let _ = panicked.await;
                    panic!("the loader panics, as the test wants")
                })
                .await
        })
    };
    settle().await;
    let source = Source::default();
    let waiter = spawn_load(&cache, &source, 2);
    settle().await;
    panic.send(()).unwrap();
    source.go_on.notify_one();
    assert_eq!(waiter.await.unwrap().unwrap(), 2);
    assert!(leader.await.unwrap_err().is_panic());
    assert_eq!(cache.stats().active_loads, 0);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_load_deadline() {
    let (_, cache, time) = world();
    let stuck = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_set::<u32, _>("k", None, pending).await })
    };
    settle().await;
    let source = Source::default();
    let first = spawn_load(&cache, &source, 2);
    settle().await;
    time.advance(Duration::from_secs(10));
    // It came later, so it may wait longer: for the one who takes over.
    let second = spawn_load(&cache, &source, 3);
    settle().await;
    assert_eq!(source.count(), 0, "30 s have not passed");
    time.advance(Duration::from_secs(20));
    source.began.notified().await;
    source.go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), 2);
    assert_eq!(second.await.unwrap().unwrap(), 2);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2));
    stuck.abort();
}

#[tokio::test]
async fn a_delete_or_write_during_a_load_wins() {
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
        ("set", |it| Box::pin(async move { it.set("k", &9, None).await.unwrap() }), Some(9)),
        (
            "set_many",
            |it| {
                Box::pin(
                    async move { assert!(it.set_many([("k", 9)], None).await.unwrap().is_empty()) },
                )
            },
            Some(9),
        ),
        (
            "add",
            |it| Box::pin(async move { assert!(it.add("k", &9, None).await.unwrap()) }),
            Some(9),
        ),
        (
            "incr_or",
            |it| Box::pin(async move { assert_eq!(it.incr_or("k", 4, 5, None).await.unwrap(), 9) }),
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
                    it.at_version(0).set("k", &9, None).await.unwrap();
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
        settle().await;
        old.go_on.notify_one();
        assert_eq!(caller.await.unwrap().unwrap(), 1, "{name}: who was in the load keeps it");
        assert_eq!(cache.get::<u32>("k").await.unwrap(), *expected, "{name}: the old load stored");
        new.go_on.notify_one();
        assert_eq!(later.await.unwrap().unwrap(), expected.unwrap_or(2), "{name}: who came later");
    }
}

#[tokio::test]
async fn a_delete_waits_for_a_loaded_value_that_is_on_its_way() {
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
    settle().await;
    assert_eq!(store.calls(Operation::Delete), 0, "the delete could be overtaken");
    held.release();
    assert!(delete.await.unwrap().unwrap());
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    assert!(!cache.has_key("k").await.unwrap());
}

#[tokio::test]
async fn a_delete_waits_no_longer_than_a_write_may_take() {
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
    settle().await;
    assert_eq!(store.calls(Operation::Delete), 0);
    time.advance(Duration::from_millis(500));
    assert!(!delete.await.unwrap().unwrap());
    assert_eq!(caller.await.unwrap().unwrap(), 1, "a write that failed fails nobody");
    assert_eq!(cache.stats().load_writes_failed, 1);
}

#[tokio::test]
async fn a_load_that_waits_for_itself_is_an_error_that_names_the_keys() {
    let (_, cache, _) = world();
    let inner = cache.clone();
    let error =
        cache
            .get_or_try_set::<u32, _, _>("a", None, || async move {
                let again = inner.clone();
                inner
                    .get_or_try_set("b", None, || async move {
                        again.get_or_set("a", None, pending).await
                    })
                    .await
            })
            .await
            .unwrap_err();
    let circle =
        error.loader::<cache_core::Error>().unwrap().loader::<cache_core::Error>().unwrap();
    assert_eq!(circle.kind(), ErrorKind::Loader);
    assert!(circle.to_string().contains(":1:a → :1:b → :1:a"), "{circle}");
}

#[tokio::test]
async fn loads_of_two_tasks_and_two_caches_that_wait_for_each_other_end() {
    let ((_, left, _), (_, right, _)) = (world(), world());
    let barrier = Arc::new(Barrier::new(2));
    let task = |outer: &Cache, inner: &Cache| {
        let (outer, inner, barrier) = (outer.clone(), inner.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            outer
                .get_or_try_set("k", None, || async move {
                    barrier.wait().await;
                    inner.get_or_set("k", None, pending::<u32>).await
                })
                .await
        })
    };
    let (a, b) = (task(&left, &right), task(&right, &left));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    assert!(a.is_err() && b.is_err());
    assert!(format!("{a:?} {b:?}").contains("in a circle"), "{a:?} {b:?}");
}

#[tokio::test]
async fn a_loader_may_load_other_keys() {
    let (_, cache, _) = world();
    let inner = cache.clone();
    let sum = cache
        .get_or_try_set("sum", None, || async move {
            let one = inner.get_or_set("one", None, || async { 1 }).await?;
            let two = inner.get_or_set("two", None, || async { 2 }).await?;
            Ok::<_, cache_core::Error>(one + two)
        })
        .await
        .unwrap();
    assert_eq!(sum, 3);
    assert_eq!(cache.stats().loads, 3);
}

#[tokio::test]
async fn callers_who_want_different_types_each_get_theirs() {
    let (_, cache, _) = world();
    let source = Source::default();
    let number = spawn_load(&cache, &source, 7);
    source.began.notified().await;
    let text = {
        let cache = cache.clone();
        tokio::spawn(
            async move { cache.get_or_set("k", None, || async { "seven".to_owned() }).await },
        )
    };
    settle().await;
    source.go_on.notify_one();
    assert_eq!(number.await.unwrap().unwrap(), 7);
    assert_eq!(text.await.unwrap().unwrap(), "seven");
}

#[tokio::test]
async fn a_value_of_another_type_is_loaded_again_and_overwritten() {
    for strict in [false, true] {
        let (_, cache, _) = world();
        let cache = if strict { cache.strict() } else { cache };
        cache.set("k", "text", None).await.unwrap();
        assert_eq!(cache.get_or_set("k", None, || async { 7 }).await.unwrap(), 7);
        assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(7), "one bad entry keeps failing");
        assert_eq!(cache.stats().undecodable, 1);
    }
}

#[tokio::test]
async fn with_a_lifetime_of_zero_nothing_is_stored() {
    let (_, cache, _) = world();
    assert_eq!(cache.get_or_set("k", secs(0), || async { 7 }).await.unwrap(), 7);
    assert!(!cache.has_key("k").await.unwrap());
}

#[tokio::test]
async fn a_store_that_fails_is_loaded_around_and_not_written_to() {
    let (store, cache, _) = world();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert_eq!(cache.get_or_set("k", None, || async { 7 }).await.unwrap(), 7);
    assert_eq!(store.calls(Operation::Set), 0);
    let loads = AtomicUsize::new(0);
    let strict = cache.strict();
    let load = || async {
        loads.fetch_add(1, SeqCst);
        7
    };
    let error = strict.get_or_set("k", None, load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(loads.load(SeqCst), 0, "strict mode loads nothing");
}

#[tokio::test]
async fn while_the_store_is_down_there_is_still_one_load() {
    let (store, cache, _) = world();
    store.inject(|_| Fault::Error(ErrorKind::TimedOut));
    let source = Source::default();
    let callers: Vec<_> = (0..8).map(|_| spawn_load(&cache, &source, 7)).collect();
    source.began.notified().await;
    settle().await;
    source.go_on.notify_one();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 7);
    }
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn a_value_that_does_not_serialise_is_an_error_for_all() {
    let (_, cache, _) = world();
    let bad = std::collections::HashMap::from([((1, 2), 3)]);
    let error = cache.get_or_set("k", None, || async { bad }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(cache.stats().active_loads, 0);
}

#[test]
fn blocking_loads_share_one_flight_and_find_circles() {
    let (_, cache, _) = world();
    let cache = cache.blocking();
    let loads = AtomicUsize::new(0);
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let load = || {
                    loads.fetch_add(1, SeqCst);
                    7
                };
                assert_eq!(cache.get_or_set("k", Timeout::Never, load).unwrap(), 7);
            });
        }
    });
    assert_eq!(loads.load(SeqCst), 1);
    let error = cache
        .get_or_try_set::<u32, _>("a", None, || cache.get_or_set("a", None, || 1))
        .unwrap_err();
    assert!(format!("{error:?}").contains("in a circle"), "{error:?}");
}

#[tokio::test]
async fn bytes_that_do_not_decode_count_as_a_miss() {
    let (store, cache, _) = world();
    cache.set("k", "text", None).await.unwrap();
    assert_eq!(cache.get_or_set("k", None, || async { 1 }).await.unwrap(), 1);
    let stats = cache.stats();
    let counted = stats[Operation::GetOrSet];
    assert_eq!((counted.hits, counted.misses, stats.undecodable), (0, 1, 1));

    let damaged = (&b"\xc1\xca damaged"[..]).into();
    store.set(":1:k", damaged, Expiry::Never, SetMode::Always).await.unwrap();
    assert_eq!(cache.get_bytes("k").await.unwrap(), None);
    let counted = cache.stats()[Operation::Get];
    assert_eq!((counted.hits, counted.misses), (0, 1));
}

#[tokio::test]
async fn a_slow_load_does_not_push_a_point_in_time_back() {
    let (_, cache, time) = world();
    let secs = Duration::from_secs;
    let load = |took| {
        let time = &time;
        move || async move {
            time.advance(secs(took));
            1
        }
    };
    let at = time.clock().wall() + secs(10);
    cache.get_or_set("k", at, load(6)).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(secs(4))));
    cache.get_or_set("late", at, load(4)).await.unwrap();
    assert!(!cache.has_key("late").await.unwrap(), "its time was over when it was there");
}

#[tokio::test]
async fn a_load_counts_once_while_its_value_is_stored() {
    let (store, cache, _) = world();
    let held = store.hold(Operation::Set);
    let load = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", None, || async { 1 }).await }
    });
    store.arrived(Operation::Set, 1).await;
    assert_eq!(cache.stats().active_loads, 1);
    held.release();
    assert_eq!(load.await.unwrap().unwrap(), 1);
    assert_eq!(cache.stats().active_loads, 0);
}

#[tokio::test]
async fn a_load_that_begins_during_a_write_does_not_overwrite_it() {
    for by_incr in [true, false] {
        let (store, cache, _) = world();
        let held = store.hold(if by_incr { Operation::Incr } else { Operation::Set });
        let write = tokio::spawn({
            let cache = cache.clone();
            async move {
                if by_incr {
                    cache.incr_or("k", 4, 5, None).await.map(drop)
                } else {
                    cache.set("k", &9, None).await
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
        assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(9), "what was acknowledged is lost");
    }
}

#[tokio::test]
async fn a_loaded_value_whose_caller_was_dropped_on_its_way_is_waited_out() {
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
    // sleeps: what must not happen has no event, and it would come from the library's own thread.
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
async fn aliases_with_the_same_keys_in_the_same_store_know_of_each_others_loads() {
    let alias = "backend = 'memory'\nlocation = 'main'";
    let text = format!(
        "[caches.default]\n{alias}\n[caches.b]\n{alias}\ntimeout = 'never'\n[caches.c]\n{alias}\nkey_prefix = 'c'"
    );
    let caches = cache_core::Caches::builder()
        .driver(cache_memory::DRIVER)
        .toml(&text)
        .unwrap()
        .build()
        .unwrap();
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
