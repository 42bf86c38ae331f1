//! Servers that are down, do not answer, or disappear in the middle of an answer.

use std::time::Duration;

use cache_core::{ErrorKind, layer::BreakerState, secs, testing::FakeClock};
use fault_tests::freeze_opens_the_breaker_in_time;
use futures_util::future::join_all;
use test_servers::{Postgres, Proxy, Server as _, proxy::Direction};

use crate::support::{
    LONG, NO_BREAKER, PATIENT, cache, cache_by, is_outage, number, raw, timed, timed_by, until,
    until_by,
};

fn through(proxy: &Proxy) -> String {
    format!("postgres://postgres@{}/postgres", proxy.address())
}

/// The test server itself may lose its last commits in a crash.
fn safe(server: &Postgres) -> String {
    format!("{}?options=-c%20synchronous_commit%3Don", server.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_recovers_after_a_server_crash_under_load() {
    let server = Postgres::start().unwrap();
    let cache = cache(&safe(&server), &format!("{PATIENT}{NO_BREAKER}")).strict();
    cache.set("n", &0, secs(600)).await.unwrap();
    for _ in 0..3 {
        let load = (0..16).map(|task| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for i in 0.. {
                    if let Err(error) = cache.set(&format!("k{task}"), &i, secs(60)).await {
                        assert!(is_outage(&error), "{error}");
                        break;
                    }
                }
            })
        });
        let load: Vec<_> = load.collect();
        until("it works", async || cache.get::<i32>("k0").await.unwrap().is_some()).await;
        server.kill();
        for it in join_all(load).await {
            it.unwrap();
        }
        let error = cache.get::<i32>("n").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        server.restart().unwrap();
        until("it works again", async || cache.get::<i32>("n").await.is_ok_and(|it| it == Some(0)))
            .await;
    }
}

/// However many calls succeeded before, and however few callers there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_server_opens_the_breaker_within_one_and_a_half_deadlines() {
    for callers in [1, 8, 64] {
        let server = Postgres::start().unwrap();
        let cache = cache(&server.url(), "");
        freeze_opens_the_breaker_in_time(&server, &cache, callers);
    }
}

/// While there are no calls: the first call after it is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_while_idle_is_not_noticed() {
    let server = Postgres::start().unwrap();
    let cache = cache(&safe(&server), PATIENT).strict();
    cache.set("k", &1, secs(600)).await.unwrap();
    for _ in 0..3 {
        server.restart().unwrap();
        // The client learns it from its own socket, which takes a moment.
        until("it is served", async || cache.get::<i32>("k").await.is_ok()).await;
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_server_costs_one_deadline_and_then_almost_nothing() {
    let server = Postgres::start().unwrap();
    // Creating the table may take long.
    cache(&server.url(), PATIENT).strict().set("k", &1, secs(600)).await.unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache(&through(&proxy), "");
    let strict = cache.strict();
    until("it works", async || strict.get::<i32>("k").await.is_ok_and(|it| it == Some(1))).await;
    let accepted = proxy.accepted();
    server.freeze();
    until("the breaker is open", async || {
        let calls = (0..8).map(|_| timed(strict.get::<i32>("k")));
        for (res, took) in join_all(calls).await {
            assert!(took < LONG, "{took:?}");
            assert!(is_outage(&res.unwrap_err()));
        }
        cache.stats().breaker == Some(BreakerState::Open)
    })
    .await;
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
    let (res, took) = timed(cache.clear()).await;
    assert!(is_outage(&res.unwrap_err()) && took < LONG, "{took:?}");
    until("the connection is replaced", async || {
        let _ = strict.get::<i32>("k").await;
        proxy.accepted() > accepted
    })
    .await;
    server.thaw();
    until("it works again", async || strict.get::<i32>("k").await.is_ok_and(|it| it == Some(1)))
        .await;
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

/// By the cache's own clock, which moves while the calls wait.
#[tokio::test]
async fn no_call_waits_longer_than_both_deadlines() {
    let server = Postgres::start().unwrap();
    let clock = FakeClock::new();
    let deadlines = "deadline = \"800ms\"\nconnect_deadline = \"1200ms\"\n";
    let cache = cache_by(&clock, &server.url(), &format!("{deadlines}{NO_BREAKER}")).strict();
    for _ in 0..2 {
        until_by(&clock, "it works", async || cache.set("k", &1, secs(600)).await.is_ok()).await;
        server.freeze();
        for _ in 0..3 {
            let calls = join_all((0..20).map(|_| cache.get::<i32>("k")));
            let (answers, took) = timed_by(&clock, calls).await;
            assert!(answers.iter().all(Result::is_err), "{answers:?}");
            assert!(took < Duration::from_millis(2600), "the last call took {took:?}");
        }
        server.thaw();
    }
}

/// A dead connection sends nothing: calls time out, and then there is another connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_connection_is_replaced() {
    let server = Postgres::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let deadline = format!("deadline = \"200ms\"\n{NO_BREAKER}");
    let cache = cache(&through(&proxy), &deadline).strict();
    for round in 0..3 {
        until("it works", async || cache.set("k", &round, secs(600)).await.is_ok()).await;
        proxy.swallow_open();
        let error = cache.get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        until("it works on another", async || cache.get::<i32>("k").await.is_ok()).await;
    }
}

/// Also if no caller ever waits as long as the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_connection_is_replaced_for_callers_that_leave_early() {
    let server = Postgres::start().unwrap();
    cache(&server.url(), PATIENT).strict().set("k", &1, secs(600)).await.unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache(&through(&proxy), NO_BREAKER).strict();
    until("it works", async || cache.get::<i32>("k").await.is_ok()).await;
    proxy.swallow_open();
    let mut moment = Duration::from_millis(50);
    until("it works on another", async || {
        let call = cache.get::<i32>("k");
        let res = tokio::time::timeout(moment, call).await;
        // On a slow machine all leave a little later, and always before the deadline.
        moment = (moment + Duration::from_millis(5)).min(Duration::from_millis(300));
        matches!(res, Ok(Ok(Some(1))))
    })
    .await;
}

/// In the middle of answers, at any byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connection_fails_only_the_calls_under_way() {
    let server = Postgres::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache(&through(&proxy), &format!("{PATIENT}{NO_BREAKER}")).strict();
    let keys: Vec<String> = (0..50).map(|i| format!("k{i}")).collect();
    for key in &keys {
        cache.set(key, key, secs(600)).await.unwrap();
    }
    for bytes in [1, 5, 60, 500, 2000] {
        // A connection that is being made is not missed: others serve its keys.
        until("all connections are there", async || cache.check().await.is_ok()).await;
        proxy.truncate_after(bytes);
        let calls = keys.iter().map(async |key| (key, cache.get::<String>(key).await));
        let mut failed = 0;
        for (key, res) in join_all(calls).await {
            match res {
                Ok(read) => assert_eq!(read.as_ref(), Some(key)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0, "{bytes}");
        until("it works again", async || cache.get::<String>("k1").await.is_ok()).await;
    }
    proxy.cut();
    proxy.refuse();
    let error = cache.get::<String>("k1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    proxy.pass();
    until("it works again", async || cache.get::<String>("k1").await.is_ok()).await;
}

/// A statement that is sent once takes effect at most once, even if its answer is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answer_counts_nothing_twice() {
    let server = Postgres::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let patient = cache(&server.url(), PATIENT).strict();
    patient.set("n", &0, secs(600)).await.unwrap();
    let cache = cache(&through(&proxy), &format!("deadline = \"300ms\"\n{NO_BREAKER}")).strict();
    let client = raw(&server).await;
    until("it works", async || cache.get::<i64>("n").await.is_ok()).await;
    for _ in 0..5 {
        proxy.swallow(Direction::ToClient);
        assert!(cache.incr("n", 1).await.is_err());
        proxy.pass();
        proxy.cut();
        until("it works again", async || cache.get::<i64>("n").await.is_ok()).await;
        patient.incr("n", 1).await.unwrap();
    }
    // A slow session still has its statement.
    for it in [&cache, &patient] {
        it.close().await.unwrap();
    }
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cache-db'";
    until("all sessions have ended", async || number(&client, ours).await == 0).await;
    let answered = patient.incr("n", 1).await.unwrap();
    assert!((6..=11).contains(&answered), "{answered}");
    let stored = "SELECT encode(value, 'escape')::bigint FROM cache";
    assert_eq!(number(&client, stored).await, answered);
}

/// The clock of the cache stands still: a call that waited for it would not end.
#[tokio::test]
async fn connection_refused_is_reported_at_once() {
    let server = Postgres::start().unwrap();
    let url = server.url();
    drop(server);
    let cache = cache_by(&FakeClock::new(), &url, NO_BREAKER);
    let strict = cache.strict();
    for _ in 0..5 {
        let call = strict.get::<i32>("k");
        let error = tokio::time::timeout(LONG, call).await.expect("it waits").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
}
