//! Closing memory closes the connections of its bus.

use test_servers::{Postgres, Redis};
use tokio_postgres::NoTls;

use crate::support::{bus, process, put, wait_until};

/// Closes memory on this bus, and waits until its server has no client.
async fn closed(url: &str, clients: impl AsyncFn() -> i64) {
    let gone = async || {
        wait_until("all connections are closed", async || clients().await == 0).await;
    };
    let cache = process(url).await;
    for round in 0..5 {
        put(&[&cache], round).await;
        cache.delete("k").await.unwrap();
        assert!(clients().await > 1 && !bus(&cache).is_bypassed);
        cache.close().await.unwrap();
        gone().await;
        cache.check().await.unwrap();
    }
    // The stream is beginning.
    for _ in 0..20 {
        cache.close().await.unwrap();
        gone().await;
        cache.get::<i64>("k").await.unwrap();
    }
}

#[tokio::test]
async fn close_ends_all_connections_to_redis() {
    let redis = Redis::start().unwrap();
    let clients = async || {
        let list = redis.command(&["CLIENT", "LIST"]).unwrap().text();
        // Without the connection of this question.
        i64::try_from(list.lines().count()).unwrap() - 1
    };
    closed(&redis.url(), clients).await;
}

#[tokio::test]
async fn close_ends_all_connections_to_postgres() {
    let server = Postgres::start().unwrap();
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let clients = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cache-db'";
        client.query_one(sql, &[]).await.unwrap().get(0)
    };
    closed(&server.url(), clients).await;
}
