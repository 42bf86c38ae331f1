//! A frozen server, which accepts connections but does not answer.

use std::time::Duration;

use fault_tests::{NO_BREAKER, timed, until, with_lateness};
use futures_util::future::join_all;
use test_servers::{Redis, Server as _};

use crate::support::{OnRedis, cache};

fault_tests::frozen!(OnRedis);

/// "A server that does not answer costs its deadline", and the deadline for connecting. The store
/// works again soon after the server resumes. On one thread, which measures all delays of calls by
/// the machine.
#[tokio::test]
async fn call_to_a_frozen_server_ends_within_both_deadlines() {
    let redis = Redis::start().unwrap();
    let deadlines = "deadline = \"200ms\"\nconnect_deadline = \"300ms\"\n";
    let cache = cache(&[redis.url()], &format!("{deadlines}{NO_BREAKER}")).strict();
    until("it works", async || cache.set("k", &1, cache_core::Timeout::Default).await.is_ok())
        .await;
    for _ in 0..3 {
        redis.freeze();
        for _ in 0..6 {
            let call = |_| {
                let cache = cache.clone();
                tokio::spawn(async move { timed(cache.get::<i32>("k")).await })
            };
            let (calls, late) = with_lateness(join_all((0..20).map(call))).await;
            for it in calls {
                let (res, took) = it.unwrap();
                assert!(
                    res.is_err() && took < Duration::from_millis(700) + late,
                    "{res:?} {took:?}, late by {late:?}"
                );
            }
        }
        redis.thaw();
        let works = until("it works", async || cache.get::<i32>("k").await.is_ok());
        let (back, late) = with_lateness(works).await;
        assert!(back < Duration::from_millis(900) + late, "{back:?}, late by {late:?}");
    }
}
