//! What calls answer while the store fails.

use std::sync::Arc;

use cache_core::{
    Cache, ErrorKind, Result, Timeout,
    layer::{BreakerSettings, Operation},
    secs,
};

use crate::{OPEN, both, down, kind};

#[tokio::test]
async fn reads_answer_as_an_empty_store() -> Result<()> {
    for (store, cache) in both() {
        drop(cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?);
        for kind in OPEN {
            down(&store, kind);
            assert_eq!(cache.get::<i32>("a").await?, None);
            assert_eq!(cache.get_bytes("a").await?, None);
            assert!(cache.get_many::<i32, _>(["a", "b"]).await?.is_empty());
            assert!(!cache.has_key("a").await?);
            assert_eq!(cache.ttl("a").await?, None);
            assert!(!cache.touch("a", secs(9)).await?);
        }
        store.heal();
        assert_eq!(cache.get::<i32>("a").await?, Some(1), "a failed read changes nothing");
    }
    Ok(())
}

#[tokio::test]
async fn writes_answer_as_done_without_effect() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            down(&store, kind);
            cache.set("a", &1, Timeout::Default).await?;
            cache.set_bytes("a", "x", Timeout::Default).await?;
            cache.set("a", &1, secs(0)).await?;
            assert!(!cache.delete("a").await?);
            assert!(!cache.touch("a", secs(0)).await?);
            assert_eq!(cache.delete_many(["a", "b"]).await?, 0);
        }
    }
    Ok(())
}

#[tokio::test]
async fn set_many_lists_every_key_that_it_did_not_write() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            for timeout in [Timeout::Default, secs(0)] {
                down(&store, kind);
                let failed = cache.set_many([("a", 1), ("b", 2), ("a", 3)], timeout).await?;
                let keys: Vec<_> =
                    failed.iter().map(|it| (it.key.as_str(), it.error.kind())).collect();
                assert_eq!(keys, [("a", kind), ("b", kind)]);
                let failed = cache.strict().set_many([("a", 1)], timeout).await?;
                assert_eq!(failed.len(), 1, "strict, too");
            }
        }
        store.heal();
        assert!(cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?.is_empty());
    }
    Ok(())
}

/// D24: an invented answer there is double execution, a wrong count, or data thought gone.
#[tokio::test]
async fn what_would_be_an_invented_answer_never_fails_open() {
    for (store, cache) in both() {
        for expected in OPEN {
            down(&store, expected);
            let answers = [
                kind(cache.add("k", &1, Timeout::Default).await),
                kind(cache.add("k", &1, secs(0)).await),
                kind(cache.replace("k", &1, Timeout::Default).await),
                kind(cache.replace("k", &1, secs(0)).await),
                kind(cache.pop::<i32>("k").await),
                kind(cache.update("k", Timeout::Default, |it: i32| it).await),
                kind(cache.upsert("k", Timeout::Default, |it: Option<i32>| it.or(Some(1))).await),
                kind(cache.incr("k", 1).await),
                kind(cache.decr("k", 1).await),
                kind(cache.incr_or("k", 1, 0, Timeout::Default).await),
                kind(cache.incr_or("k", 1, 0, secs(0)).await),
                kind(cache.incr_version("k", 1).await),
                kind(cache.incr_version("k", 0).await),
                kind(cache.decr_version("k", 1).await),
                kind(cache.clear().await),
                kind(cache.clear_store().await),
                kind(cache.check().await),
                kind(cache.close().await),
            ];
            assert!(answers.iter().all(|it| *it == expected), "{answers:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_the_stores_health_is_always_returned() {
    for (store, cache) in both() {
        for expected in ErrorKind::ALL.iter().copied().filter(|it| !OPEN.contains(it)) {
            down(&store, expected);
            let mut answers = vec![
                kind(cache.has_key("k").await),
                kind(cache.ttl("k").await),
                kind(cache.touch("k", Timeout::Default).await),
                kind(cache.set("k", &1, Timeout::Default).await),
                kind(cache.delete("k").await),
                kind(cache.delete_many(["k"]).await),
            ];
            // Of a read it tells of what is stored, and has tests of its own, in `wrong_type.rs`.
            if !matches!(expected, ErrorKind::Codec | ErrorKind::WrongType) {
                answers.extend([
                    kind(cache.get::<i32>("k").await),
                    kind(cache.get_bytes("k").await),
                    kind(cache.get_many::<i32, _>(["k"]).await),
                    kind(cache.get_or_set("k", Timeout::Default, || async { 1 }).await),
                ]);
            }
            assert!(answers.iter().all(|it| *it == expected), "{expected:?}: {answers:?}");
            assert_eq!(cache.stats().marked_keys, 0, "{expected:?}: nothing failed open");
        }
    }
}

async fn all_errors(cache: &Cache) -> Vec<ErrorKind> {
    vec![
        kind(cache.get::<i32>("k").await),
        kind(cache.get_bytes("k").await),
        kind(cache.get_many::<i32, _>(["k"]).await),
        kind(cache.has_key("k").await),
        kind(cache.ttl("k").await),
        kind(cache.touch("k", Timeout::Default).await),
        kind(cache.set("k", &1, Timeout::Default).await),
        kind(cache.set_bytes("k", "x", Timeout::Default).await),
        kind(cache.delete("k").await),
        kind(cache.delete_many(["k"]).await),
    ]
}

#[tokio::test]
async fn strict_handles_and_strict_settings_return_every_error() {
    for (store, cache) in both() {
        let builder = Cache::builder(Arc::new(store.clone())).breaker(BreakerSettings::off());
        let by_setting = builder.fail_open(false).build("x").unwrap();
        for expected in OPEN {
            down(&store, expected);
            for cache in [cache.strict(), by_setting.clone(), cache.strict().at_version(2)] {
                let answers = all_errors(&cache).await;
                assert!(answers.iter().all(|it| *it == expected), "{expected:?}: {answers:?}");
            }
        }
        store.heal();
        assert_eq!(cache.stats().marked_keys, 0, "who is told of a failure needs no mark");
    }
}

#[tokio::test]
async fn of_a_batch_that_fails_in_part_the_rest_counts() -> Result<()> {
    for (store, cache) in both() {
        drop(cache.set_many([("a", 1), ("down", 2), ("b", 3)], Timeout::Default).await?);
        store.fail_keys(|key| key.ends_with("down"), ErrorKind::Unavailable);
        let found = cache.get_many::<i32, _>(["a", "down", "b"]).await?;
        assert_eq!(found, [("a", 1), ("b", 3)].into(), "the hits there are");
        assert_eq!(
            kind(cache.strict().get_many::<i32, _>(["a", "down"]).await),
            ErrorKind::Unavailable
        );
        let failed = cache.set_many([("a", 4), ("down", 5), ("b", 6)], Timeout::Default).await?;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].key, "down");
        assert_eq!(cache.delete_many(["a", "down", "b"]).await?, 2);
        assert_eq!(cache.stats().marked_keys, 1, "only what failed is marked");
        store.heal();
        assert_eq!(cache.get::<i32>("down").await?, None, "its old value is not served");
    }
    Ok(())
}

#[tokio::test]
async fn failures_are_counted_apart_from_misses() -> Result<()> {
    for (store, cache) in both() {
        cache.get::<i32>("k").await?;
        down(&store, ErrorKind::Unavailable);
        cache.get::<i32>("k").await?;
        cache.get_many::<i32, _>(["a", "b"]).await?;
        cache.set("other", &1, Timeout::Default).await?;
        cache.incr("k", 1).await.unwrap_err();
        let stats = cache.stats();
        assert_eq!((stats[Operation::Get].misses, stats[Operation::Get].failures), (1, 1));
        assert_eq!((stats[Operation::GetMany].misses, stats[Operation::GetMany].failures), (0, 2));
        assert_eq!((stats[Operation::Set].done, stats[Operation::Set].failures), (0, 1));
        assert_eq!(stats[Operation::Incr].failures, 1);
        store.heal();
        cache.get::<i32>("k").await?;
        assert_eq!(cache.stats()[Operation::Get].misses, 2);
    }
    Ok(())
}
