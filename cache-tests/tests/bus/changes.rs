//! A key that is removed in one process is missing in the other one.

use std::time::{Duration, Instant};

use cache_core::secs;
use test_servers::Redis;

use crate::support::{bus, get, missing, process, put, servers, wait_until};

#[tokio::test]
async fn removals_reach_the_other_process() {
    for (_server, url) in servers() {
        removals_reach_the_other(&url).await;
    }
}

async fn removals_reach_the_other(url: &str) {
    let (one, other) = (process(url).await, process(url).await);
    put(&[&one, &other], 1).await;
    assert!(one.delete("k").await.unwrap());
    missing(&other).await;
    put(&[&one, &other], 1).await;
    assert_eq!(one.pop::<i64>("k").await.unwrap(), Some(1));
    missing(&other).await;
    put(&[&other], 1).await;
    one.clear().await.unwrap();
    missing(&other).await;
    put(&[&other], 1).await;
    let blocking = one.blocking();
    tokio::task::spawn_blocking(move || blocking.delete("k")).await.unwrap().unwrap();
    missing(&other).await;

    let keys: Vec<String> = (0..5_000).map(|n| format!("{}:{n}", "k".repeat(100))).collect();
    for key in &keys {
        other.set(key, &1, secs(600)).await.unwrap();
    }
    one.delete_many(&keys).await.unwrap();
    wait_until("all messages arrive", async || {
        other.get_many::<i64, _>(&keys).await.unwrap().is_empty()
    })
    .await;

    for cache in [&one, &other] {
        cache.with_tags(["org:3"]).set("k", &7, secs(600)).await.unwrap();
        assert_eq!(get(cache).await, Some(7));
    }
    let began = Instant::now();
    one.invalidate_tags(["org:3"]).await.unwrap();
    assert_eq!(get(&one).await, None);
    missing(&other).await;
    println!("tag: {:?}", began.elapsed());
    let (ours, theirs) = (one.namespace("users").unwrap(), other.namespace("users").unwrap());
    put(&[&theirs], 1).await;
    ours.clear().await.unwrap();
    missing(&theirs).await;
    assert_eq!((bus(&one).pending, bus(&other).resets), (0, 1));
}

/// The time from the acknowledged delete to the miss in the other process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_is_known_elsewhere_within_milliseconds() {
    let redis = Redis::start().unwrap();
    let (one, other) = (process(&redis.url()).await, process(&redis.url()).await);
    let mut times = Vec::new();
    for round in 0..300 {
        put(&[&other], round).await;
        one.delete("k").await.unwrap();
        let began = Instant::now();
        while get(&other).await.is_some() {
            tokio::task::yield_now().await;
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("p50 {median:?}, p99 {late:?}");
    assert!(median < Duration::from_millis(50), "{median:?}");
}

/// A load that read its source before the delete of another process does not store what it read.
#[tokio::test]
async fn load_that_is_under_way_does_not_store() {
    let redis = Redis::start().unwrap();
    let (one, other) = (process(&redis.url()).await, process(&redis.url()).await);
    for _ in 0..50 {
        let heard = bus(&other).invalidations;
        let load = async || {
            one.delete("k").await.unwrap();
            let arrived = async || bus(&other).invalidations > heard;
            wait_until("the message arrives", arrived).await;
            1
        };
        assert_eq!(other.get_or_set("k", secs(600), load).await.unwrap(), 1);
        assert_eq!(get(&other).await, None);
    }
}

#[tokio::test]
async fn value_that_was_stored_after_the_own_delete_stays() {
    let redis = Redis::start().unwrap();
    let (one, other) = (process(&redis.url()).await, process(&redis.url()).await);
    for round in 0..50 {
        let heard = bus(&other).invalidations;
        one.delete("k").await.unwrap();
        one.set("k", &round, secs(600)).await.unwrap();
        let arrived = async || bus(&other).invalidations > heard;
        wait_until("the message arrives", arrived).await;
        assert_eq!(get(&one).await, Some(round));
    }
    assert_eq!((bus(&one).invalidations, bus(&one).resets), (0, 1));
}
