//! A server that became a replica: it answers `PUBLISH`, and forwards nothing to its leader.

use cache_core::ErrorKind;
use test_servers::Redis;

use crate::support::{bus, bypassed, get, in_use, missing, process, put, wait_until};

/// A leader that does not answer.
const NOBODY: [&str; 3] = ["REPLICAOF", "127.0.0.1", "1"];
const NO_ONE: [&str; 3] = ["REPLICAOF", "NO", "ONE"];

#[tokio::test]
async fn delete_that_only_a_replica_has_received_fails_and_is_published_later() {
    let redis = Redis::start().unwrap();
    for round in 0..3 {
        let (one, other) = (process(&redis.url()).await, process(&redis.url()).await);
        put(&[&one, &other], round).await;
        redis.command(&NOBODY).unwrap();
        let error = one.strict().delete("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(bus(&one).pending, 1);
        assert_eq!(get(&one).await, None);
        redis.command(&NO_ONE).unwrap();
        wait_until("what was pending is published", async || bus(&one).pending == 0).await;
        missing(&other).await;
    }
}

#[tokio::test]
async fn memory_is_bypassed_while_the_server_is_a_replica() {
    let redis = Redis::start().unwrap();
    let (one, other) = (process(&redis.url()).await, process(&redis.url()).await);
    put(&[&one, &other], 1).await;
    redis.command(&NOBODY).unwrap();
    for cache in [&one, &other] {
        bypassed(cache).await;
        assert_eq!(get(cache).await, None);
    }
    redis.command(&NO_ONE).unwrap();
    for cache in [&one, &other] {
        in_use(cache).await;
    }
    put(&[&one, &other], 2).await;
    one.strict().delete("k").await.unwrap();
    missing(&other).await;
}

/// A user who may not run `ROLE` uses the bus as before.
#[tokio::test]
async fn bus_works_for_a_user_without_the_right_to_see_the_role() {
    let rules = ["~*", "&*", "+@all", "-role"];
    let redis = Redis::options().user("shop", "pw", &rules).start().unwrap();
    let url = redis.url();
    let (one, other) = (process(&url).await, process(&url).await);
    for round in 0..10 {
        put(&[&one, &other], round).await;
        one.strict().delete("k").await.unwrap();
        missing(&other).await;
    }
    assert_eq!(bus(&other).resets, 1, "at the beginning");
}
