//! The results of calls while the store fails.

use std::sync::Arc;

use cache_core::{
    Cache, ErrorKind, Result, Timeout,
    layer::{BreakerSettings, Operation},
    secs,
};

use crate::{OPEN, both, down, kind};

#[tokio::test]
async fn failing_reads_have_the_results_of_an_empty_store() -> Result<()> {
    for (store, cache) in both() {
        drop(cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?);
        for kind in OPEN {
            down(&store, kind);
            assert_eq!(cache.get::<i32>("a").await?, None);
            assert_eq!(cache.bytes().get("a").await?, None);
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
async fn failing_writes_have_the_results_of_writes_without_effect() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            down(&store, kind);
            cache.set("a", &1, Timeout::Default).await?;
            cache.bytes().set("a", "x", Timeout::Default).await?;
            cache.set("a", &1, secs(0)).await?;
            assert!(!cache.delete("a").await?);
            assert!(!cache.touch("a", secs(0)).await?);
            assert_eq!(cache.delete_many(["a", "b"]).await?, 0);
        }
    }
    Ok(())
}

#[tokio::test]
async fn failing_set_many_lists_every_key_that_was_not_written() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            for timeout in [Timeout::Default, secs(0)] {
                down(&store, kind);
                let failed = cache.set_many([("a", 1), ("b", 2), ("a", 3)], timeout).await?;
                let keys: Vec<_> =
                    failed.iter().map(|it| (it.key.as_str(), it.error.kind())).collect();
                assert_eq!(keys, [("a", kind), ("b", kind)]);
                let failed = cache.strict().set_many([("a", 1)], timeout).await?;
                assert_eq!(failed.len(), 1, "a strict handle lists the key, too");
            }
        }
        store.heal();
        assert!(cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?.is_empty());
    }
    Ok(())
}

/// D24: an invented result would cause double execution, a wrong count, or seemingly lost data.
#[tokio::test]
async fn calls_whose_result_would_be_invented_never_fail_open() {
    for (store, cache) in both() {
        for expected in OPEN {
            down(&store, expected);
            let results = [
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
            assert!(results.iter().all(|it| *it == expected), "{results:?}");
        }
    }
}

#[tokio::test]
async fn errors_that_are_not_about_store_health_are_always_returned() {
    for (store, cache) in both() {
        for expected in ErrorKind::ALL.iter().copied().filter(|it| !OPEN.contains(it)) {
            down(&store, expected);
            let mut results = vec![
                kind(cache.has_key("k").await),
                kind(cache.ttl("k").await),
                kind(cache.touch("k", Timeout::Default).await),
                kind(cache.set("k", &1, Timeout::Default).await),
                kind(cache.delete("k").await),
                kind(cache.delete_many(["k"]).await),
            ];
            // For reads, these kinds describe the stored value: see `wrong_type.rs`.
            if !matches!(expected, ErrorKind::Codec | ErrorKind::WrongType) {
                results.extend([
                    kind(cache.get::<i32>("k").await),
                    kind(cache.bytes().get("k").await),
                    kind(cache.get_many::<i32, _>(["k"]).await),
                    kind(cache.get_or_set("k", Timeout::Default, || async { 1 }).await),
                ]);
            }
            assert!(results.iter().all(|it| *it == expected), "{expected:?}: {results:?}");
            assert_eq!(cache.stats().tombstones, 0, "{expected:?}: a call failed open");
        }
    }
}

async fn all_errors(cache: &Cache) -> Vec<ErrorKind> {
    vec![
        kind(cache.get::<i32>("k").await),
        kind(cache.bytes().get("k").await),
        kind(cache.get_many::<i32, _>(["k"]).await),
        kind(cache.has_key("k").await),
        kind(cache.ttl("k").await),
        kind(cache.touch("k", Timeout::Default).await),
        kind(cache.set("k", &1, Timeout::Default).await),
        kind(cache.bytes().set("k", "x", Timeout::Default).await),
        kind(cache.delete("deleted").await),
        kind(cache.delete_many(["deleted"]).await),
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
                let results = all_errors(&cache).await;
                assert!(results.iter().all(|it| *it == expected), "{expected:?}: {results:?}");
            }
        }
        store.heal();
        // Of the deletes, in two versions: they are sent again.
        assert_eq!(
            cache.stats().tombstones,
            2,
            "a write whose error was returned left a tombstone"
        );
    }
}

#[tokio::test]
async fn partly_failing_batch_has_results_for_the_other_keys() -> Result<()> {
    for (store, cache) in both() {
        drop(cache.set_many([("a", 1), ("down", 2), ("b", 3)], Timeout::Default).await?);
        store.fail_keys(|key| key.ends_with("down"), ErrorKind::Unavailable);
        let found = cache.get_many::<i32, _>(["a", "down", "b"]).await?;
        assert_eq!(found, [("a", 1), ("b", 3)].into(), "the hits of the other keys");
        assert_eq!(
            kind(cache.strict().get_many::<i32, _>(["a", "down"]).await),
            ErrorKind::Unavailable
        );
        let failed = cache.set_many([("a", 4), ("down", 5), ("b", 6)], Timeout::Default).await?;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].key, "down");
        assert_eq!(cache.delete_many(["a", "down", "b"]).await?, 2);
        assert_eq!(cache.stats().tombstones, 1, "only the failed key is marked");
        store.heal();
        assert_eq!(cache.get::<i32>("down").await?, None, "the old value is served");
    }
    Ok(())
}

#[tokio::test]
async fn failures_have_another_count_than_misses() -> Result<()> {
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
