//! Tombstones: a key whose write failed open does not return its stale value.

use cache_core::{
    Cache, Error, ErrorKind, Result, Timeout, layer::Operation, secs, testing::Fault,
};

use crate::{both, down, kind, put, writes};

/// Makes one of the writes that mark a key when they fail open.
async fn write_by(cache: &Cache, how: &str) -> Result<()> {
    match how {
        "set" => cache.set("k", &2, Timeout::Default).await,
        "set of bytes" => cache.bytes().set("k", "2", Timeout::Default).await,
        "set to zero" => cache.set("k", &2, secs(0)).await,
        "set_many" => cache.set_many([("k", 2)], Timeout::Default).await.map(drop),
        "set_many to zero" => cache.set_many([("k", 2)], secs(0)).await.map(drop),
        "delete" => cache.delete("k").await.map(drop),
        "delete_many" => cache.delete_many(["k"]).await.map(drop),
        "touch to zero" => cache.touch("k", secs(0)).await.map(drop),
        _ => unreachable!("{how}"),
    }
}

const WRITES: [&str; 8] = [
    "set",
    "set of bytes",
    "set to zero",
    "set_many",
    "set_many to zero",
    "delete",
    "delete_many",
    "touch to zero",
];

/// The contract: "So a value that was deleted during an outage is not served when the store
/// returns."
#[tokio::test]
async fn stale_value_is_not_served_after_a_write_failed_open() -> Result<()> {
    for (store, cache) in both() {
        for how in WRITES {
            for fault in
                [Fault::Error(ErrorKind::Unavailable), Fault::ErrorAfter(ErrorKind::TimedOut)]
            {
                put(&store, "k", "1").await;
                assert_eq!(cache.get::<i32>("k").await?, Some(1), "{how}");
                store.inject(writes(fault));
                write_by(&cache, how).await?;
                assert_eq!(cache.stats().tombstones, 1, "{how}");
                // Reads reach the store, but the value there is stale.
                assert_eq!(cache.get::<i32>("k").await?, None, "{how}");
                assert!(cache.get_many::<i32, _>(["k"]).await?.is_empty(), "{how}");
                assert!(!cache.has_key("k").await?, "{how}");
                assert_eq!(cache.ttl("k").await?, None, "{how}");
                assert_eq!(cache.clone().bytes().get("k").await?, None, "{how}: another handle");
                store.heal();
                assert_eq!(
                    cache.get::<i32>("k").await?,
                    None,
                    "{how}: the pending delete runs before the read"
                );
                assert_eq!(cache.stats().tombstones, 0, "{how}");
                put(&store, "k", "3").await;
                assert_eq!(cache.get::<i32>("k").await?, Some(3), "{how}: the new value is served");
                cache.delete("k").await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn successful_write_removes_the_tombstone() -> Result<()> {
    for (store, cache) in both() {
        for how in WRITES {
            put(&store, "k", "1").await;
            store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
            cache.delete("k").await?;
            assert_eq!(cache.stats().tombstones, 1);
            store.heal();
            write_by(&cache, how).await?;
            assert_eq!(cache.stats().tombstones, 0, "{how}");
            let deletes = store.calls(Operation::Delete);
            let found = cache.get::<i32>("k").await?;
            assert!(matches!(found, None | Some(2)), "{how}: {found:?}");
            assert_eq!(store.calls(Operation::Delete), deletes, "{how}: a delete is pending");
        }
    }
    Ok(())
}

#[tokio::test]
async fn successful_clear_removes_all_tombstones() -> Result<()> {
    for (store, cache) in both() {
        down(&store, ErrorKind::Unavailable);
        cache.delete_many(["a", "b", "c"]).await?;
        assert_eq!(cache.stats().tombstones, 3);
        cache.clear().await.unwrap_err();
        assert_eq!(cache.stats().tombstones, 3, "a failed clear removed tombstones");
        store.heal();
        cache.clear().await?;
        assert_eq!(cache.stats().tombstones, 0);
    }
    Ok(())
}

/// A call whose result depends on the entry must not use an entry that should have been deleted.
#[tokio::test]
async fn stale_value_of_a_marked_key_counts_as_absent() -> Result<()> {
    for (store, cache) in both() {
        let mark = async || {
            put(&store, "k", "41").await;
            store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
            cache.delete("k").await?;
            assert_eq!(cache.stats().tombstones, 1);
            // While the pending delete fails, these calls fail.
            assert_eq!(kind(cache.add("k", &1, Timeout::Default).await), ErrorKind::Unavailable);
            assert_eq!(kind(cache.incr("k", 1).await), ErrorKind::Unavailable);
            assert_eq!(kind(cache.pop::<i32>("k").await), ErrorKind::Unavailable);
            store.heal();
            Ok::<_, Error>(())
        };
        mark().await?;
        assert!(cache.add("k", &1, Timeout::Default).await?, "add");
        mark().await?;
        assert!(!cache.replace("k", &1, Timeout::Default).await?, "replace");
        mark().await?;
        assert!(!cache.touch("k", Timeout::Default).await?, "touch");
        mark().await?;
        assert_eq!(cache.pop::<i32>("k").await?, None, "pop");
        mark().await?;
        assert_eq!(cache.update("k", Timeout::Default, |it: i32| it + 1).await?, None, "update");
        mark().await?;
        let make = |it: Option<i32>| it.or(Some(1));
        assert_eq!(cache.upsert("k", Timeout::Default, make).await?, Some(1), "upsert");
        mark().await?;
        assert_eq!(kind(cache.incr("k", 1).await), ErrorKind::KeyNotFound, "incr");
        mark().await?;
        assert_eq!(cache.incr_or("k", 1, 0, Timeout::Default).await?, 1, "incr_or");
        mark().await?;
        assert_eq!(kind(cache.incr_version("k", 1).await), ErrorKind::KeyNotFound, "incr_version");
        mark().await?;
        assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await?, 7, "get_or_set");
        assert_eq!(cache.get::<i32>("k").await?, Some(7), "the loaded value is not stored");
    }
    Ok(())
}

/// The target of a rename may be marked as well: its pending delete must not remove the renamed
/// entry.
#[tokio::test]
async fn entry_renamed_to_a_marked_key_stays() -> Result<()> {
    for (store, cache) in both() {
        cache.set("k", "v", Timeout::Default).await?;
        store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
        cache.at_version(2).delete("k").await?;
        store.heal();
        assert_eq!(cache.incr_version("k", 1).await?, 2);
        assert_eq!(cache.at_version(2).get::<String>("k").await?.as_deref(), Some("v"));
    }
    Ok(())
}
