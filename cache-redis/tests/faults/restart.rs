//! A server that is down for a while: killed, absent at the start, or unreachable; and the calls
//! after it is up again.

use std::time::Duration;

use fault_tests::{PATIENT, is_open, until};
use test_servers::{Proxy, Redis, Server as _};

use crate::support::{OnRedis, cache_through};

fault_tests::restart!(OnRedis);

/// A `clear` may take long. If it is the first call after an outage, and shows that the server is
/// up again, no other call waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_clear_after_an_outage_does_not_block_other_calls() {
    let redis = Redis::options().args(&["--enable-debug-command", "yes"]).start().unwrap();
    // So many that it takes half a minute with the delay below.
    redis.command(&["DEBUG", "POPULATE", "200000", "foreign", "1"]).unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let cache = cache_through(
        &proxy,
        &format!("{PATIENT}[caches.default.breaker]\nopen_for = \"100ms\"\n"),
    )
    .strict();
    proxy.refuse();
    until("the breaker is open", async || {
        cache.get::<i32>("k").await.unwrap_err();
        is_open(&cache)
    })
    .await;
    proxy.delay(Duration::from_millis(150));
    // sleeps: only a call would show that the breaker admits one, and this call has to be `clear`
    tokio::time::sleep(Duration::from_millis(300)).await;
    let clearing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.clear().await }
    });
    until("it has heard of its first step, and taken the second", async || {
        let stats = redis.command(&["INFO", "commandstats"]).unwrap().text();
        let calls = stats.split_once("cmdstat_scan:calls=").map_or("0", |it| it.1);
        calls.split(',').next().unwrap().parse::<u32>().unwrap() >= 2
    })
    .await;
    let res = cache.get::<i32>("k").await;
    assert!(!clearing.is_finished());
    assert!(res.is_ok(), "{}", res.unwrap_err());
    proxy.pass();
    clearing.await.unwrap().unwrap();
}
