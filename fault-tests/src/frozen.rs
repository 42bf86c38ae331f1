//! Servers that are frozen and reply to no client.

use std::time::{Duration, Instant};

use cache_core::{Timeout, layer::BreakerState};
use futures_util::future::join_all;
use test_servers::{Proxy, Server as _, proxy::Direction};

use crate::{
    Harness, LONG, PATIENT, answered, cache_on, cache_through, freeze_opens_the_breaker_in_time,
    is_open, is_outage, keys,
    load::{Freshness, Load, fails_open},
    promises, report, timed, until,
};

promises!($ frozen:
    frozen_server_costs_a_deadline_until_the_breaker_opens,
    freeze_after_healthy_traffic_opens_the_breaker_within_one_and_a_half_deadlines,
    key_deleted_during_an_outage_stays_deleted,
);

/// The first calls take their deadline, and are misses or `TimedOut`. Then the breaker is open and
/// calls take microseconds. The connection is replaced, and the handle works again when the server
/// continues.
async fn frozen_server_costs_a_deadline_until_the_breaker_opens<S: Harness>() {
    const CALLS: u32 = 1000;
    let server = S::start();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through::<S>(&proxy, "");
    let open = Load::start(&cache, keys("open", 32), Freshness::Any);
    let strict = Load::start(&cache.strict(), keys("strict", 32), Freshness::Any);
    until("all calls succeed", async || {
        open.has("incr", "done", 64) && strict.has("incr", "done", 64)
    })
    .await;
    let accepted = proxy.accepted();

    // Before the freeze: it may take so long on a busy machine that the breaker is open after it.
    open.reset();
    strict.reset();
    server.freeze();
    let opened = until("the breaker is open", async || is_open(&cache)).await;
    report("frozen, until the breaker opens", "calls take their deadline", opened);
    let began = Instant::now();
    for _ in 0..CALLS {
        assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    }
    let each = began.elapsed() / CALLS;
    report("frozen, breaker open, failing open", "a miss", each);
    assert!(each < Duration::from_millis(50), "{each:?}");
    let replaced = until("the connection is replaced", async || proxy.accepted() > accepted).await;
    report("frozen, after the breaker has opened", "the connection is replaced", replaced);
    // Calls without a deadline of their own end nevertheless.
    for (call, (res, took)) in [
        ("check", timed(cache.check()).await),
        ("clear", timed(cache.clear()).await),
        ("add", timed(async { cache.add("k", &1, Timeout::Default).await.map(drop) }).await),
    ] {
        let error = res.unwrap_err();
        assert!(is_outage(&error), "{error}");
        report(&format!("frozen, {call}"), &error.to_string(), took);
        assert!(took < LONG);
    }
    let (open_seen, strict_seen) = (open.seen(), strict.seen());
    report("frozen, failing open", &open_seen.to_string(), open_seen.longest());
    report("frozen, strict", &strict_seen.to_string(), strict_seen.longest());
    assert!(fails_open(&open_seen), "{open_seen}");
    assert!(open_seen.has_only_outages() && strict_seen.has_only_outages());
    assert!(strict_seen.of("get", "TimedOut") + strict_seen.of("set", "TimedOut") > 0);

    server.thaw();
    open.reset();
    strict.reset();
    let back = until("all work again, and the breaker is closed", async || {
        open.has("get", "hit", 64)
            && strict.has("incr", "done", 64)
            && cache.stats().breaker == Some(BreakerState::Closed)
    })
    .await;
    report("frozen, after it continues", "the same handle works again", back);
    let (open, strict) = (open.stop().await, strict.stop().await);
    assert!(open.longest().max(strict.longest()) < LONG, "{open}; {strict}");
}

/// A key that was deleted during an outage still exists when the server continues, and must not be
/// served: reads are misses until the delete is sent, and afterwards because of it.
async fn key_deleted_during_an_outage_stays_deleted<S: Harness>() {
    let server = S::start();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through::<S>(&proxy, "");
    let strict = cache.strict();
    // The machine may be slow.
    let patient = cache_on::<S>(&server, PATIENT).strict();
    let names = keys("k", 20);
    for key in &names {
        patient.set(key, &"old", Timeout::Default).await.unwrap();
    }
    let is_old = |it: Option<String>| it.as_deref() == Some("old");
    until("calls succeed", async || strict.get(&names[0]).await.is_ok_and(is_old)).await;
    server.freeze();
    // A delete that reached the server's socket would be executed when it continues. So none may
    // reach it, although the breaker lets a probe through now and then.
    proxy.swallow(Direction::ToServer);
    until("the breaker is open", async || {
        let calls = (0..10).map(|_| strict.get::<String>("other"));
        join_all(calls).await;
        is_open(&cache)
    })
    .await;
    let (res, took) = timed(cache.delete(&names[0])).await;
    assert!(!res.unwrap());
    report("frozen, delete", "`false`; a delete is pending", took);
    assert_eq!(cache.delete_many(&names[1..10]).await.unwrap(), 0);
    for key in &names[10..] {
        cache.set(key, &"new", Timeout::Default).await.unwrap();
    }
    assert_eq!(cache.stats().tombstones, 20);

    server.thaw();
    for key in &names {
        assert_eq!(S::stored(&server, key).as_deref(), Some("\"old\""));
    }
    // A real network does not resume in the middle of lost bytes.
    proxy.cut();
    proxy.pass();
    let back = until("all pending deletes are sent", async || {
        for key in &names[..15] {
            assert_eq!(cache.get::<String>(key).await.unwrap(), None);
        }
        assert!(cache.get_many::<String, _>(&names[15..]).await.unwrap().is_empty());
        assert!(!cache.has_key(&names[0]).await.unwrap());
        cache.stats().tombstones == 0
    })
    .await;
    report(
        "frozen, after it continues, reads of deleted keys",
        "misses; the deletes are sent",
        back,
    );
    for key in &names {
        assert_eq!(S::stored(&server, key), None);
        let control = async || drop(patient.get::<String>("control").await.unwrap());
        answered(control, async || strict.set(key, &"newest", Timeout::Default).await).await;
        let found = answered(control, async || strict.get::<String>(key).await).await;
        assert_eq!(found.as_deref(), Some("newest"));
    }
}

/// For any number of successful calls before, and few or many callers.
async fn freeze_after_healthy_traffic_opens_the_breaker_within_one_and_a_half_deadlines<
    S: Harness,
>() {
    for callers in [1, 8, 64] {
        let server = S::start();
        let cache = cache_on::<S>(&server, "");
        freeze_opens_the_breaker_in_time(&server, &cache, callers);
    }
}
