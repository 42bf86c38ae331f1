//! Futures that are dropped at any moment, also while they connect.

use std::time::Duration;

use fault_tests::{
    Connections, PATIENT, cancelled::readers_beside_dropped_calls, connections_are_closed, report,
    timed,
};
use futures_util::future::join_all;
use test_servers::{Proxy, Redis, RedisCluster, Server as _};

use crate::support::{CLUSTERED, OnRedis, cache, cache_through};

fault_tests::cancelled!(OnRedis);

/// The promise for a single server also holds in a Cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_future_takes_no_reply_of_another_call_in_a_cluster() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let cache = cache(&cluster.urls(), &format!("{PATIENT}{CLUSTERED}")).strict();
    let (dropped, took) = timed(readers_beside_dropped_calls(cache)).await;
    assert!(dropped > 0);
    report(&format!("Cluster, {dropped} futures dropped"), "nothing", took);
}

/// The first callers share one connection attempt. Dropping one caller during the attempt does not
/// end it for the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_first_call_does_not_end_the_shared_connection_attempt() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let cache = cache_through(&proxy, PATIENT).strict();
    proxy.delay(Duration::from_millis(100));
    for round in 1..=3 {
        let first = cache.get::<i32>("k");
        assert!(tokio::time::timeout(Duration::from_millis(20), first).await.is_err());
        let call = |_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get::<i32>("k").await })
        };
        for it in join_all((0..200).map(call)).await {
            assert_eq!(it.unwrap().unwrap(), None);
        }
        assert_eq!(proxy.accepted(), round);
        proxy.cut();
        connections_are_closed(proxy.port(), Connections::NotClosedByClient).await;
    }
}
