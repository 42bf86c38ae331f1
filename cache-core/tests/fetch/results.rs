//! The results of fetches, and the values that they store.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, FetchOutcome, LoadContext, Loaded, Ttl,
    layer::Operation,
    secs,
    testing::{Fault, Model},
};

use crate::{HOUR, MINUTE, SECOND, Source, fails, run_tasks, value, world, world_with};

#[tokio::test]
async fn error_is_remembered_for_its_time() {
    let (_, cache, time) = world();
    let loads = Arc::new(AtomicUsize::new(0));
    let fetch = || {
        let loads = Arc::clone(&loads);
        let load = move |_| async move {
            loads.fetch_add(1, SeqCst);
            Err::<u32, _>(io::Error::other("db down"))
        };
        cache.fetch("k").error_ttl(SECOND).load(load)
    };
    for _ in 0..3 {
        let error = fetch().await.unwrap_err();
        assert_eq!(error.loader::<io::Error>().unwrap().to_string(), "db down");
        assert_eq!(error.context("key"), Some(":1:k"));
    }
    assert_eq!(loads.load(SeqCst), 1);
    time.advance(SECOND);
    fetch().await.unwrap_err();
    assert_eq!(loads.load(SeqCst), 2);
    assert_eq!(cache.fetch("k").force().load(value(7)).await.unwrap(), 7);
    assert_eq!(fetch().await.unwrap(), 7);
}

#[tokio::test]
async fn forced_load_replaces_the_value_and_earlier_loads_do_not_store() {
    let (_, cache, _) = world();
    let (first, second) = (Source::default(), Source::default());
    let earlier = tokio::spawn({
        let (cache, load) = (cache.clone(), first.slow(1));
        async move { cache.fetch("k").outcome(load).await }
    });
    first.began.notified().await;
    let forced = tokio::spawn({
        let (cache, load) = (cache.clone(), second.slow(2));
        async move { cache.fetch("k").force().outcome(load).await }
    });
    second.began.notified().await;
    // It waits for the forced load.
    let waiter = tokio::spawn({
        let cache = cache.clone();
        async move { cache.fetch("k").load(value(3)).await }
    });
    run_tasks().await;
    second.go_on.notify_one();
    assert_eq!(forced.await.unwrap().unwrap().value, Some(2));
    assert_eq!(waiter.await.unwrap().unwrap(), 2);
    first.go_on.notify_one();
    assert_eq!(earlier.await.unwrap().unwrap().value, Some(1), "its own value");
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2));
    let failed = cache.fetch("k").force().load(fails::<u32>()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Loader, "no old value instead");
}

#[tokio::test]
async fn bypass_neither_reads_nor_stores() {
    let (_, cache, _) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    assert_eq!(cache.fetch("k").bypass().load(value(2)).await.unwrap(), 2);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(1));
    assert_eq!(cache.stats().active_loads, 0);
}

#[tokio::test]
async fn loader_sets_the_lifetime_or_skips_storing() {
    let (_, cache, _) = world();
    let load = |context: LoadContext| async move {
        context.ttl(secs(5));
        Ok::<_, io::Error>(1)
    };
    cache.fetch("k").jitter(1.0).load(load).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(5 * SECOND)));
    let skip = |context: LoadContext| async move {
        context.skip();
        Ok::<_, io::Error>(2)
    };
    assert_eq!(cache.fetch("skipped").load(skip).await.unwrap(), 2);
    assert!(!cache.has_key("skipped").await.unwrap());
    assert_eq!(cache.fetch("k").force().load(skip).await.unwrap(), 2);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "the old value stays");
    let zero = |context: LoadContext| async move {
        context.ttl(secs(0));
        Ok::<_, io::Error>(3)
    };
    assert_eq!(cache.fetch("k").force().load(zero).await.unwrap(), 3);
    assert!(!cache.has_key("k").await.unwrap());
}

#[tokio::test]
async fn lifetimes_are_prolonged_by_jitter_and_never_shortened() {
    let (_, cache, _) = world();
    let mut different = std::collections::HashSet::new();
    for n in 0..50 {
        let key = format!("k{n}");
        cache.fetch(&key).jitter(0.5).load(value(1)).await.unwrap();
        let Some(Ttl::Remaining(left)) = cache.ttl(&key).await.unwrap() else { panic!() };
        assert!((MINUTE..=MINUTE * 3 / 2).contains(&left), "{left:?}");
        different.insert(left);
    }
    assert!(different.len() > 10, "{different:?}");
}

#[tokio::test]
async fn value_of_a_failed_store_is_loaded_and_not_stored() {
    let (store, cache, _) = world();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let load = |_| async { Ok::<_, io::Error>(Loaded::Value(7)) };
    let found = cache.fetch("k").outcome(load).await.unwrap();
    assert_eq!(found.value, Some(7));
    assert!(matches!(found.outcome, FetchOutcome::MissByError { .. }), "{:?}", found.outcome);
    assert_eq!(store.calls(Operation::Set), 0);
    let error = cache.strict().fetch("k").load(value(8)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn outcome_says_whether_the_store_has_taken_the_value() {
    let (store, cache, _) = world();
    let is_stored = |outcome| match outcome {
        FetchOutcome::Loaded { stored, .. } => stored,
        other => panic!("{other:?}"),
    };
    let fetch = async |key, skips: bool| {
        let load = move |context: LoadContext| async move {
            if skips {
                context.skip();
            }
            Ok::<_, io::Error>(Loaded::Value(7))
        };
        is_stored(cache.fetch(key).outcome(load).await.unwrap().outcome)
    };
    assert!(fetch("a", false).await);
    assert!(!fetch("b", true).await, "skipped");
    store.inject(|call| match call.operation {
        Operation::Set => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    assert!(!fetch("c", false).await, "the write failed");
    store.heal();
    for is_deleted in [false, true] {
        let source = Source::default();
        let call = || {
            let (cache, load) = (cache.clone(), source.slow(1));
            tokio::spawn(async move { cache.fetch("d").outcome(load).await })
        };
        let (first, second) = (call(), call());
        source.began.notified().await;
        run_tasks().await;
        if is_deleted {
            cache.delete("d").await.unwrap();
        }
        source.go_on.notify_one();
        for caller in [first, second] {
            let fetched = caller.await.unwrap().unwrap();
            assert_eq!(is_stored(fetched.outcome), !is_deleted, "shared by two callers");
        }
        assert_eq!(source.count(), 1);
        cache.delete("d").await.unwrap();
    }
    let load = |_| async { Ok::<_, io::Error>(Loaded::Value(7)) };
    let bypassed = cache.fetch("e").bypass().outcome(load).await.unwrap();
    assert!(!is_stored(bypassed.outcome), "bypassed");
}

#[tokio::test]
async fn absence_replaces_a_stale_value() {
    for negative in [None, Some(MINUTE.into())] {
        let (_, cache, time) = world_with(|it| it.negative_ttl = negative);
        cache.fetch("k").prime(&1).await.unwrap();
        time.advance(MINUTE);
        let none = |_| async { Ok::<_, io::Error>(None::<u32>) };
        let found = cache.fetch("k").soft_timeout(SECOND).load_optional(none).await.unwrap();
        assert_eq!(found, None);
        let next = cache.fetch("k").outcome(Source::default().slow(2));
        if negative.is_some() {
            assert!(matches!(next.await.unwrap().outcome, FetchOutcome::Absent));
        } else {
            assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 2, "it is gone");
        }
    }
}

#[tokio::test]
async fn not_modified_without_a_value_is_an_error() {
    let (_, cache, _) = world();
    let load =
        |context: LoadContext| async move { Ok::<Loaded<u32>, io::Error>(context.not_modified()) };
    let error = cache.fetch("k").outcome(load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    assert!(error.message().contains("NotModified"), "{error}");
}

#[tokio::test]
async fn callers_of_different_types_each_get_their_type() {
    let (_, cache, _) = world();
    let source = Source::default();
    let number = tokio::spawn({
        let (cache, load) = (cache.clone(), source.slow(7));
        async move { cache.fetch("k").outcome(load).await }
    });
    source.began.notified().await;
    let text = tokio::spawn({
        let cache = cache.clone();
        let load = |_| async { Ok::<_, io::Error>("seven".to_owned()) };
        async move { cache.fetch("k").load(load).await }
    });
    run_tasks().await;
    source.go_on.notify_one();
    assert_eq!(number.await.unwrap().unwrap().value, Some(7));
    assert_eq!(text.await.unwrap().unwrap(), "seven");
}

#[test]
fn fetch_without_a_runtime_hits_and_does_not_load() {
    let cache = Cache::new("test", Model::default());
    cache.blocking().set("k", &7, HOUR).unwrap();
    let poll = |key: &'static str| {
        let mut fetch = Box::pin(cache.fetch(key).load(value(1)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match fetch.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(res) => res,
            std::task::Poll::Pending => panic!("the fetch waits"),
        }
    };
    assert_eq!(poll("k").unwrap(), 7);
    let error = poll("missing").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Runtime);
    assert!(error.message().contains("get_or_set"), "{error}");
    assert_eq!(cache.stats().active_loads, 0);
}

#[tokio::test]
async fn get_or_set_takes_the_grace_of_the_alias() {
    let (store, cache, time) = world();
    let text = || async { "text".to_owned() };
    cache.get_or_set("k", MINUTE, text).await.unwrap();
    let stored = cache_core::store::Backend::ttl(&store, ":1:k").await.unwrap();
    assert_eq!(stored, Some(Ttl::Remaining(MINUTE + HOUR)));
    time.advance(MINUTE);
    let fail = || async { Err::<String, _>(io::Error::other("db down")) };
    assert_eq!(cache.get_or_try_set("k", MINUTE, fail).await.unwrap(), "text");
    assert_eq!(cache.stats()[Operation::GetOrSet].stale, 1);
    time.advance(HOUR + Duration::from_millis(1));
    cache.get_or_try_set("k", MINUTE, fail).await.unwrap_err();
    // An integer stays plain text.
    assert_eq!(cache.get_or_set("n", MINUTE, || async { 1 }).await.unwrap(), 1);
    assert_eq!(cache.incr("n", 1).await.unwrap(), 2);
}
