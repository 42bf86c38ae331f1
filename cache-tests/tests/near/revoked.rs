//! Revoked stays revoked: what decides is read from the far store, whatever a process has near.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use cache_core::{Cache, secs};
use test_servers::Redis;
use tokio::sync::oneshot;

use crate::support::{cache, wait_until, warm};

/// How the processes hear of changes. With `none`, near values are old until the timeout.
const WAYS: [&str; 2] = ["tracking", "none"];

/// Returns the caches of two processes, of which the second one has the key `k` near.
async fn processes(redis: &Redis, way: &str, more: &str) -> [Cache; 2] {
    let near = format!("invalidation = '{way}'\ntimeout = '2s'");
    let start = || cache(&redis.url(), &near, more);
    let both = [start(), start()];
    for it in &both {
        it.check().await.unwrap();
    }
    both
}

#[tokio::test]
async fn invalidated_tag_reaches_other_processes_within_tag_staleness() {
    let redis = Redis::start().unwrap();
    for way in WAYS {
        let [writer, reader] = processes(&redis, way, "tags = true\ntag_staleness = 0").await;
        writer.with_tags(["user:1"]).set("k", &1, secs(600)).await.unwrap();
        warm(&reader).await;
        writer.invalidate_tags(["user:1"]).await.unwrap();
        assert_eq!(reader.get::<i64>("k").await.unwrap(), None, "{way}");
        writer.delete("k").await.unwrap();
    }
}

/// The second process has version 1 near, and cannot bring it back.
#[tokio::test]
async fn older_revision_is_refused_by_a_process_that_has_it_near() {
    let redis = Redis::start().unwrap();
    for way in WAYS {
        let [writer, reader] = processes(&redis, way, "revisions = true").await;
        assert!(writer.set_revision("k", &1, 1, secs(600)).await.unwrap());
        warm(&reader).await;
        assert!(writer.set_revision("k", &3, 3, secs(600)).await.unwrap());
        assert!(!reader.set_revision("k", &2, 2, secs(600)).await.unwrap(), "{way}");
        // Its own call has removed the old value.
        assert_eq!(reader.get::<i64>("k").await.unwrap(), Some(3), "{way}");
        assert!(writer.delete_revision("k", 5, secs(600)).await.unwrap());
        assert!(!reader.set_revision("k", &4, 4, secs(600)).await.unwrap(), "{way}");
        assert_eq!(reader.get::<i64>("k").await.unwrap(), None, "{way}");
        writer.clear().await.unwrap();
    }
}

#[tokio::test]
async fn fenced_load_is_refused_after_the_delete_of_another_process() {
    let redis = Redis::start().unwrap();
    for way in WAYS {
        let [writer, reader] = processes(&redis, way, "fetch = { fenced = true }").await;
        let (has_begun, begun) = oneshot::channel();
        let (go_on, wait) = oneshot::channel();
        let loading = reader.clone();
        let load = tokio::spawn(async move {
            let load = || async move {
                has_begun.send(()).unwrap();
                wait.await.unwrap();
                1
            };
            loading.get_or_set("k", secs(600), load).await.unwrap()
        });
        begun.await.unwrap();
        writer.delete("k").await.unwrap();
        go_on.send(()).unwrap();
        assert_eq!(load.await.unwrap(), 1, "its caller gets what it loaded");
        for it in [&reader, &writer] {
            assert_eq!(it.get::<i64>("k").await.unwrap(), None, "{way}: nothing was stored");
        }
        assert_eq!(reader.stats().load_writes_refused, 1, "{way}");
    }
}

#[tokio::test]
async fn lock_has_one_owner_across_processes() {
    let redis = Redis::start().unwrap();
    for way in WAYS {
        let [first, second] = processes(&redis, way, "").await;
        for _ in 0..3 {
            let lock = first.try_lock("job", secs(60)).await.unwrap().unwrap();
            assert!(second.try_lock("job", secs(60)).await.unwrap().is_none(), "{way}");
            lock.release().await.unwrap();
            let lock = second.try_lock("job", secs(60)).await.unwrap().unwrap();
            assert!(first.try_lock("job", secs(60)).await.unwrap().is_none(), "{way}");
            lock.release().await.unwrap();
        }
    }
}

/// Deletes of another process: at once after the message, or after the timeout.
#[tokio::test]
async fn deleted_value_is_gone_within_the_bound() {
    let redis = Redis::start().unwrap();
    for way in WAYS {
        let [writer, reader] = processes(&redis, way, "").await;
        writer.set("k", &1, secs(600)).await.unwrap();
        warm(&reader).await;
        writer.delete("k").await.unwrap();
        let deleted = Instant::now();
        assert_eq!(writer.get::<i64>("k").await.unwrap(), None, "{way}");
        // The longest pause between two reads: a slow machine may let this task wait.
        let (last_read, late) = (Cell::new(deleted), Cell::new(Duration::ZERO));
        wait_until("the value is missing", async || {
            late.set(late.get().max(last_read.replace(Instant::now()).elapsed()));
            reader.get::<i64>("k").await.unwrap().is_none()
        })
        .await;
        let (took, late) = (deleted.elapsed(), late.get());
        assert!(took < Duration::from_millis(2500) + late, "{way}: {took:?}, late by {late:?}");
    }
}
