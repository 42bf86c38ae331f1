//! Servers and networks that fail.

use std::time::{Duration, Instant};

use cache_core::secs;
use test_servers::{Proxy, Redis, Server};

use crate::support::{
    bus, bypassed, get, hasty_process, in_use, missing, process, put, servers, wait_until,
};

#[tokio::test]
async fn memory_is_bypassed_while_the_server_is_dead_and_empty_afterwards() {
    for (server, url) in servers() {
        is_bypassed_while_dead(&*server, &url).await;
    }
}

async fn is_bypassed_while_dead(server: &dyn Server, url: &str) {
    let (one, other) = (process(url).await, process(url).await);
    for round in 0..5 {
        put(&[&one, &other], round).await;
        server.kill();
        for cache in [&one, &other] {
            bypassed(cache).await;
            assert_eq!(get(cache).await, None);
            cache.set("k", &-1, secs(600)).await.unwrap();
            assert_eq!(cache.get_or_set("k", secs(600), async || 7).await.unwrap(), 7);
            assert_eq!(get(cache).await, None, "nothing is kept");
        }
        assert!(!one.delete("k").await.unwrap(), "it fails open");
        assert!(one.strict().delete("k").await.is_err());
        assert!(one.clear().await.is_err() && bus(&one).pending > 0);
        server.restart().unwrap();
        for cache in [&one, &other] {
            in_use(cache).await;
            assert_eq!(get(cache).await, None, "round {round}");
        }
        wait_until("what was pending is published", async || bus(&one).pending == 0).await;
        put(&[&one, &other], round).await;
        one.delete("k").await.unwrap();
        missing(&other).await;
    }
}

#[tokio::test]
async fn frozen_server_is_noticed_and_costs_few_deadlines() {
    let redis = Redis::start().unwrap();
    let (one, other) = (hasty_process(&redis.url()).await, hasty_process(&redis.url()).await);
    put(&[&one, &other], 1).await;
    redis.freeze();
    assert!(!one.delete("k").await.unwrap(), "it fails open");
    assert_eq!(get(&one).await, None);
    for cache in [&one, &other] {
        bypassed(cache).await;
        assert_eq!(get(cache).await, None);
    }
    let began = Instant::now();
    for _ in 0..1_000 {
        assert!(!one.delete("k").await.unwrap());
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?} for 1,000 deletes");
    redis.thaw();
    for cache in [&one, &other] {
        in_use(cache).await;
        assert_eq!(get(cache).await, None);
    }
    wait_until("what was pending is published", async || bus(&one).pending == 0).await;
    put(&[&one, &other], 2).await;
    one.delete("k").await.unwrap();
    missing(&other).await;
}

/// The stream of one process is cut while the other one deletes.
#[tokio::test]
async fn delete_while_a_process_is_cut_off_is_known_when_it_is_back() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let one = process(&redis.url()).await;
    let other = process(&format!("redis://{}", proxy.address())).await;
    for round in 0..20 {
        put(&[&other], round).await;
        proxy.refuse();
        proxy.cut();
        one.delete("k").await.unwrap();
        missing(&other).await;
        proxy.pass();
        in_use(&other).await;
        assert_eq!(get(&other).await, None, "round {round}");
    }
}

/// The network drops all packets silently: the heartbeat notices it.
#[tokio::test]
async fn silent_connection_is_noticed() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let one = process(&redis.url()).await;
    let other = hasty_process(&format!("redis://{}", proxy.address())).await;
    put(&[&other], 1).await;
    proxy.swallow_open();
    one.delete("k").await.unwrap();
    let began = Instant::now();
    missing(&other).await;
    let took = began.elapsed();
    println!("missing after {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    in_use(&other).await;
    put(&[&other], 2).await;
}

/// An operator ends the connections of the clients.
#[tokio::test]
async fn killed_connections_are_made_again() {
    let redis = Redis::start().unwrap();
    let (one, other) = (process(&redis.url()).await, process(&redis.url()).await);
    for round in 0..30 {
        put(&[&one, &other], round).await;
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
        redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
        one.delete("k").await.unwrap();
        missing(&other).await;
        wait_until("what was pending is published", async || bus(&one).pending == 0).await;
        in_use(&other).await;
        assert_eq!(get(&other).await, None, "round {round}");
    }
}
