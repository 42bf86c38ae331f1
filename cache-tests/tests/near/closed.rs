//! Closing a cache closes the connections of its near tier.

use cache_core::secs;
use test_servers::{Postgres, Redis, RedisCluster};

use crate::{
    far::sql,
    support::{cache, connected, group, near, visible, wait_until, warm},
};

/// Returns how many clients this server has.
fn clients(redis: &Redis) -> usize {
    let list = redis.command(&["CLIENT", "LIST"]).unwrap().text();
    // The connection of this question, and no bus of a Cluster.
    list.lines().count() - 1
}

async fn closed(redis: &Redis, invalidation: &str) {
    let gone = async || {
        wait_until("all connections are closed", async || clients(redis) == 0).await;
    };
    let cache = connected(&redis.url(), invalidation, "").await;
    for round in 0..5 {
        cache.set("k", &round, secs(600)).await.unwrap();
        visible(&cache, Some(round)).await;
        warm(&cache).await;
        assert!(clients(redis) > 1 && !near(&cache).is_bypassed);
        cache.close().await.unwrap();
        gone().await;
        cache.check().await.unwrap();
    }
    // The stream is beginning.
    for _ in 0..50 {
        cache.close().await.unwrap();
        gone().await;
        cache.get::<i64>("k").await.unwrap();
    }
}

#[tokio::test]
async fn close_ends_all_connections_to_redis() {
    for invalidation in ["tracking", "pubsub"] {
        closed(&Redis::start().unwrap(), invalidation).await;
    }
    closed(&Redis::options().valkey().start().unwrap(), "tracking").await;
}

#[tokio::test]
async fn close_ends_all_connections_to_a_cluster() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    for invalidation in ["tracking", "pubsub"] {
        let cache = group(&cluster.urls(), "topology = 'cluster'", invalidation).await;
        let items = (0..30).map(|it| (format!("k{it}"), it));
        cache.set_many(items, secs(600)).await.unwrap().into_result().unwrap();
        cache.close().await.unwrap();
        wait_until("all connections are closed", async || {
            cluster.nodes().iter().all(|it| clients(it) == 0)
        })
        .await;
    }
}

#[tokio::test]
async fn close_ends_all_connections_to_postgres() {
    let server = Postgres::start().unwrap();
    let other = sql(&server).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cache-db'";
    for _ in 0..3 {
        let cache = cache(&server.url(), "invalidation = 'postgres'", "deadline = '20s'");
        cache.check().await.unwrap();
        cache.set("k", &1, secs(600)).await.unwrap();
        warm(&cache).await;
        cache.close().await.unwrap();
        wait_until("all sessions have ended", async || {
            other.query_one(count, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    }
}
