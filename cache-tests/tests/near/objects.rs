//! Decoded values that are near: the writes of other programs replace them.

use std::sync::Arc;

use cache_core::{Cache, secs};
use test_servers::Redis;

use crate::support::{cache, near, tracking, wait_until};

/// Reads the key until two reads return the same object, of this value.
async fn shared(cache: &Cache, value: i64) -> Arc<i64> {
    wait_until("a shared value", async || {
        let first = cache.get_arc::<i64>("k").await.unwrap();
        let second = cache.get_arc::<i64>("k").await.unwrap();
        matches!((first, second), (Some(a), Some(b)) if Arc::ptr_eq(&a, &b) && *a == value)
    })
    .await;
    cache.get_arc("k").await.unwrap().unwrap()
}

#[tokio::test]
async fn write_of_any_client_replaces_the_object() {
    let redis = Redis::start().unwrap();
    let reader = tracking(&redis.url()).await;
    let writer = cache(&redis.url(), "invalidation = 'none'", "");
    for round in 0..100 {
        let written = round * 2;
        let before = near(&reader).invalidations;
        writer.set("k", &written, secs(600)).await.unwrap();
        // A later message would replace the object once more.
        wait_until("a message", async || near(&reader).invalidations > before).await;
        let old = shared(&reader, written).await;
        let before = near(&reader).hits;
        let again = reader.get_arc::<i64>("k").await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&old, &again) && near(&reader).hits == before + 1);

        redis.command(&["SET", ":1:k", &(written + 1).to_string()]).unwrap();
        let new = shared(&reader, written + 1).await;
        assert!(!Arc::ptr_eq(&old, &new));
        drop(again);
        assert_eq!(Arc::strong_count(&old), 1, "the tier keeps the old value");
    }
    shared(&reader, 199).await;
    redis.command(&["UNLINK", ":1:k"]).unwrap();
    wait_until("a miss", async || reader.get_arc::<i64>("k").await.unwrap().is_none()).await;
}

/// The tier is emptied, and its objects with it.
#[tokio::test]
async fn flush_and_a_lost_stream_replace_the_object() {
    let redis = Redis::start().unwrap();
    let reader = tracking(&redis.url()).await;
    reader.set("k", &1, secs(600)).await.unwrap();
    shared(&reader, 1).await;
    redis.command(&["FLUSHDB"]).unwrap();
    wait_until("a miss", async || reader.get_arc::<i64>("k").await.unwrap().is_none()).await;

    reader.set("k", &2, secs(600)).await.unwrap();
    shared(&reader, 2).await;
    let resets = near(&reader).resets;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    // No message reports this write if the stream is away.
    redis.command(&["SET", ":1:k", "3"]).unwrap();
    wait_until("a new stream", async || near(&reader).resets > resets).await;
    shared(&reader, 3).await;
}
