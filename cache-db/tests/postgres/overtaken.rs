//! Writes that their caller has left, and later ones on another connection.

use std::{pin::pin, time::Duration};

use cache_core::{Cache, secs};
use futures_util::{FutureExt as _, future::join_all};
use test_servers::Postgres;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::support::{cache, number, options, raw, until};

/// Locks the row of a key until the transaction of this client ends.
async fn lock(client: &Client, key: &str) {
    client.batch_execute("BEGIN").await.unwrap();
    let key = format!(":1:{key}").into_bytes();
    let locked = client.query("SELECT 1 FROM cache WHERE key = $1 FOR UPDATE", &[&key]).await;
    assert_eq!(locked.unwrap().len(), 1);
}

/// Begins a write that waits for a locked row, and leaves it then.
async fn leave(client: &Client, write: impl Future) {
    let mut write = pin!(write);
    // So long it waits on the connection for locks alone.
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
               AND application_name = 'cache-db' AND now() - query_start > '300 ms'";
    until("the write waits for the lock", async || {
        assert!(write.as_mut().now_or_never().is_none(), "the row is locked");
        number(client, sql).await > 0
    })
    .await;
}

/// Waits until the server has executed everything.
async fn idle(client: &Client) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' \
               AND application_name = 'cache-db'";
    until("the server is idle", async || number(client, sql).await == 0).await;
}

/// Returns the keys that have this value.
async fn having(cache: &Cache, keys: &[String], value: i32) -> Vec<String> {
    let found = cache.get_many::<i32, _>(keys.to_vec()).await.unwrap();
    found.into_iter().filter(|it| it.1 == value).map(|it| it.0).collect()
}

/// The keys have different connections, and the batch is sent on one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_that_was_left_does_not_undo_a_later_write() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let other = raw(&server).await;
    let cache = cache(&server.url(), &options("connections = 3")).strict();
    let keys: Vec<String> = (0..8).map(|i| format!("k{i}")).collect();
    for round in 0..3 {
        let items = |value: i32| keys.iter().map(move |key| (key.clone(), value));
        cache.set_many(items(0), secs(600)).await.unwrap().into_result().unwrap();
        lock(&client, &keys[round]).await;
        leave(&other, cache.set_many(items(1), secs(600))).await;
        let free: Vec<&String> = keys.iter().filter(|it| **it != keys[round]).collect();
        let mut later = pin!(join_all(free.iter().map(|key| cache.set(key, &2, secs(600)))));
        // A write on another connection would be done by now.
        let early = timeout(Duration::from_millis(300), later.as_mut()).await;
        client.batch_execute("COMMIT").await.unwrap();
        let written = match early {
            Ok(it) => it,
            Err(_) => later.await,
        };
        written.into_iter().for_each(Result::unwrap);
        idle(&other).await;
        assert_eq!(having(&cache, &keys, 2).await.len(), free.len(), "round {round}");
    }
}
