//! Leaders that change, and Sentinels that are down.

use std::time::{Duration, Instant};

use cache_core::{Cache, ErrorKind, Timeout};
use fault_tests::{
    LONG, PATIENT, answered, cache_on, is_outage, keys,
    load::{Freshness, Load, fails_open},
    report, timed, until, with_lateness,
};
use test_servers::{Proxy, Redis, Sentinel, Sentinels, Server, Silent};

use crate::support::{OnRedis, cache, cache_through, stored};

fn of(sentinels: &Sentinels, name: &str) -> Cache {
    with(sentinels, name, PATIENT)
}

/// Returns a cache with these settings before the options.
fn with(sentinels: &Sentinels, name: &str, more: &str) -> Cache {
    let urls: Vec<_> = sentinels.sentinels().iter().map(Sentinel::url).collect();
    let more = format!(
        "{more}[caches.default.options]\ntopology = \"sentinel\"\nservice_name = {name:?}\n"
    );
    cache(&urls, &more)
}

async fn a_leader_is_lost(what: &str, lose: fn(&Redis), find: fn(&Redis)) {
    let sentinels = Sentinels::start(1, 3).unwrap().patient().unwrap();
    let cache = with(&sentinels, sentinels.name(), "");
    let open = Load::start(&cache, keys("open", 16), Freshness::Any);
    let strict = Load::start(&cache.strict(), keys("strict", 16), Freshness::Any);
    until("all work", async || open.has("incr", "done", 32) && strict.has("incr", "done", 32))
        .await;
    let old = sentinels.leader().unwrap();
    lose(old);
    let began = Instant::now();
    open.reset();
    strict.reset();
    until("it is noticed", async || strict.seen().failed(None) > 16).await;
    let new = sentinels.wait_for_other_leader(old).unwrap();
    let promoted = began.elapsed();
    until("writes succeed", async || {
        cache.strict().set("k", &"new", Timeout::Default).await.is_ok()
    })
    .await;
    let written = began.elapsed();
    report(&format!("Sentinel, {what}, until another is promoted"), "misses", promoted);
    report(&format!("Sentinel, {what}, until writes succeed"), "the same handle works", written);
    assert_eq!(stored(new, "k").as_deref(), Some("\"new\""));
    let (open_seen, strict_seen) = (open.seen(), strict.seen());
    let told = [("failing open", &open_seen), ("strict", &strict_seen)];
    for (mode, seen) in told {
        report(&format!("Sentinel, {what}, {mode}"), &seen.to_string(), seen.longest());
    }
    open.reset();
    strict.reset();
    until("all work", async || open.has("get", "hit", 32) && strict.has("incr", "done", 32)).await;
    // The old leader may still accept commands for a moment.
    find(old);
    let (called, patient) = (cache.strict(), cache_on::<OnRedis>(new, PATIENT).strict());
    let control = async || assert_eq!(patient.get::<i32>("control").await.unwrap(), None);
    for i in 0..200 {
        answered(control, async || called.set("k", &i, Timeout::Default).await).await;
        assert_eq!(answered(control, async || called.get::<i32>("k").await).await, Some(i));
    }
    assert_eq!(stored(new, "k").as_deref(), Some("199"));
    let (open, strict) = (open.stop().await, strict.stop().await);
    assert!(fails_open(&open) && fails_open(&open_seen));
    assert!(strict.has_only_outages() && strict_seen.has_only_outages(), "{strict_seen}");
    assert!(strict_seen.longest().max(open_seen.longest()) < LONG);
}

/// The leader dies: misses, or errors in strict mode, until the Sentinels have promoted a replica.
/// Then the same handle works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_leader_is_replaced_by_the_promoted_replica() {
    a_leader_is_lost("leader dead", Server::kill, |_| ()).await;
}

/// The same for a frozen leader. When it resumes, it still acts as a leader, but receives no
/// requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_leader_is_replaced_by_the_promoted_replica() {
    a_leader_is_lost("leader frozen", Server::freeze, Server::thaw).await;
}

/// An operator's failover while the old leader runs: it acknowledges no more writes and answers no
/// more reads, although its Sentinels, connections and data still exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_leader_receives_no_more_requests() {
    let sentinels = Sentinels::start(1, 3).unwrap().patient().unwrap();
    let cache = of(&sentinels, sentinels.name());
    let idle = of(&sentinels, sentinels.name()).strict();
    let strict = cache.strict();
    strict.set("k", &"x", Timeout::Default).await.unwrap();
    assert_eq!(idle.get::<String>("k").await.unwrap().as_deref(), Some("x"));
    let load = Load::start(&strict, keys("strict", 16), Freshness::Any);
    until("all work", async || load.has("incr", "done", 32)).await;
    load.reset();

    let old = sentinels.leader().unwrap();
    let began = Instant::now();
    let new = sentinels.fail_over().unwrap();
    report("Sentinel, failover with the leader alive, until settled", "", began.elapsed());
    old.command(&["CONFIG", "RESETSTAT"]).unwrap();
    // A call fails if the old leader closes its connection at this moment.
    let is_done = async || match strict.set("k", &"y", Timeout::Default).await {
        Ok(()) => true,
        Err(error) if is_outage(&error) => false,
        Err(error) => panic!("{error}"),
    };
    let took = until("a write is done", is_done).await;
    report("Sentinel, failover, the first write after it", "done by the new leader", took);
    assert_eq!(stored(new, "k").as_deref(), Some("\"y\""));
    // A cache without calls in between still has the old topology.
    let (res, took) = timed(idle.get::<String>("k")).await;
    assert_eq!(res.unwrap().as_deref(), Some("y"));
    report("Sentinel, failover, the first read after it", "of the new leader", took);
    for _ in 0..50 {
        assert_eq!(strict.get::<String>("k").await.unwrap().as_deref(), Some("y"));
        assert_eq!(idle.get::<String>("k").await.unwrap().as_deref(), Some("y"));
    }
    let stats = old.command(&["INFO", "commandstats"]).unwrap().text();
    assert!(!stats.contains("cmdstat_get:"), "{stats}");
    let seen = load.stop().await;
    report("Sentinel, failover, strict", &seen.to_string(), seen.longest());
    assert!(seen.has_only_outages(), "{seen}");
    assert!(seen.longest() < LONG);
}

/// A dead and a frozen Sentinel delay callers only for a moment. An unknown service name is a miss,
/// and an error with this reason. Without a majority of Sentinels, callers with a known leader are
/// not affected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_sentinels_are_not_needed() {
    let sentinels = Sentinels::start(1, 3).unwrap().patient().unwrap();
    let unknown = of(&sentinels, "nobody");
    let (res, took) = timed(unknown.get::<i32>("k")).await;
    assert_eq!(res.unwrap(), None);
    report("Sentinel, unknown name, failing open", "a miss", took);
    for (call, (res, took)) in [
        ("get", timed(async { unknown.strict().get::<i32>("k").await.map(drop) }).await),
        ("check", timed(unknown.check()).await),
    ] {
        let error = res.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("`nobody`"), "{error}");
        report(&format!("Sentinel, unknown name, {call}"), &error.to_string(), took);
    }

    let works = async |what: &str| {
        let cache = of(&sentinels, sentinels.name()).strict();
        let call = timed(cache.set("k", &1, Timeout::Default));
        let ((res, took), late) = with_lateness(call).await;
        res.unwrap();
        assert!(took < Duration::from_secs(5) + late, "{what}: {took:?}, late by {late:?}");
        report(what, "nothing; the first call connects", took);
        cache.check().await.unwrap();
    };
    for (i, watcher) in sentinels.sentinels().iter().enumerate() {
        watcher.kill();
        works(&format!("Sentinel {} of 3 dead", i + 1)).await;
        watcher.restart().unwrap();
        watcher.freeze();
        works(&format!("Sentinel {} of 3 frozen", i + 1)).await;
        watcher.thaw();
    }
    let cache = of(&sentinels, sentinels.name()).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    for it in sentinels.sentinels() {
        it.kill();
    }
    assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    let late = of(&sentinels, sentinels.name());
    let (res, took) = timed(late.strict().get::<i32>("k")).await;
    let error = res.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    report("all Sentinels dead, strict, before the leader is known", &error.to_string(), took);
    assert_eq!(late.get::<i32>("k").await.unwrap(), None);
}

/// Sentinels that hang do not slow down calls to a healthy leader, although a lost connection has
/// triggered a refresh. On one thread, so that a slow machine delays both calls of a pair.
#[tokio::test]
async fn hanging_sentinels_do_not_slow_down_calls() {
    let sentinels = Sentinels::start(1, 1).unwrap().patient().unwrap();
    let cache = with(&sentinels, sentinels.name(), "").strict();
    until("a call succeeds", async || cache.set("k", &1, Timeout::Default).await.is_ok()).await;
    let leader = sentinels.leader().unwrap();
    sentinels.sentinels()[0].freeze();
    leader.command(&["CLIENT", "KILL", "TYPE", "NORMAL"]).unwrap();
    // sleeps: the loss of the connection has no visible sign, and an earlier call would fail
    tokio::time::sleep(Duration::from_millis(20)).await;
    let _ = cache.get::<i32>("k").await;
    // Beside each call, a call without Sentinels: if both are slow, the machine is slow.
    let plain = cache_on::<OnRedis>(leader, PATIENT).strict();
    plain.set("plain", &1, Timeout::Default).await.unwrap();
    // A call waits at most 50 ms for a refresh.
    let is_slow = |took| took >= Duration::from_millis(45);
    let began = Instant::now();
    let (mut slow, mut all) = (0, 0);
    while began.elapsed() < Duration::from_secs(3) {
        let call = timed(cache.get::<i32>("k"));
        let ((res, took), (_, twin_took)) = tokio::join!(call, timed(plain.get::<i32>("plain")));
        match res {
            // Both calls had no reply, so the machine stood still.
            Err(error) if is_outage(&error) && is_slow(twin_took) => continue,
            res => assert_eq!(res.unwrap(), Some(1)),
        }
        all += 1;
        slow += u32::from(is_slow(took) && !is_slow(twin_took));
        // sleeps: a call now and then, as services make them
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sentinels.sentinels()[0].thaw();
    report("Sentinel frozen, leader well", &format!("{slow} of {all} calls wait"), began.elapsed());
    assert!(slow <= 6, "{slow} of {all} calls waited for a Sentinel that hangs");
}

/// "`check` … never fails open": it reports the current state, not the result of the last attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reports_the_current_state() {
    let sentinels = Sentinels::start(1, 1).unwrap().patient().unwrap();
    let proxy = Proxy::to(sentinels.sentinels()[0].address()).unwrap();
    let options =
        "[caches.default.options]\ntopology = \"sentinel\"\nservice_name = \"mymaster\"\n";
    let cache = cache_through(&proxy, &format!("{PATIENT}{options}")).strict();
    proxy.refuse();
    cache.check().await.unwrap_err();
    // The Sentinels are up again, over a slow network. A refresh takes longer than a call would
    // wait.
    proxy.delay(Duration::from_millis(60));
    // sleeps: a server that rejected the connection is not tried again for up to a second
    tokio::time::sleep(Duration::from_millis(1500)).await;
    cache.check().await.unwrap();
}

/// Sentinels that drop all packets do not prevent the connection to the others.
#[tokio::test]
async fn silent_sentinels_do_not_use_up_the_connect_deadline() {
    let sentinels = Sentinels::start(0, 1).unwrap().patient().unwrap();
    let silent = [Silent::start().unwrap(), Silent::start().unwrap()];
    let silent = silent.iter().map(|it| format!("redis://{}", it.address()));
    let urls: Vec<_> = silent.chain(sentinels.sentinels().iter().map(Sentinel::url)).collect();
    let more = format!(
        "deadline = \"20s\"\nconnect_deadline = \"60s\"\n[caches.default.options]\ntopology = \"sentinel\"\n\
         service_name = {:?}\n",
        sentinels.name()
    );
    let cache = cache(&urls, &more).strict();
    let (res, took) = timed(cache.set("k", &1, Timeout::Default)).await;
    res.unwrap();
    assert!(took < LONG, "{took:?}");
}

/// A client whose connection to the leader has ended connects to it again before it knows of a
/// failover. By then the server may be a replica that has lost its leader, with old values.
#[tokio::test]
async fn replica_that_was_the_leader_answers_no_reads_on_a_new_connection() {
    let sentinels = Sentinels::start(1, 1).unwrap().patient().unwrap();
    let cache = of(&sentinels, sentinels.name()).strict();
    cache.set("k", &"old", Timeout::Default).await.unwrap();
    let leader = sentinels.leader().unwrap();
    // These block the runtime, so the tasks of the connection do not notice that it ends.
    leader.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    leader.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    // sleeps: from 10 ms on a connection is idle, and is checked before it is used
    std::thread::sleep(Duration::from_millis(20));
    let res = cache.get::<String>("k").await;
    assert_eq!(res.as_ref().unwrap_err().kind(), ErrorKind::Unavailable, "{res:?}");
    assert!(res.unwrap_err().message().contains("failover in progress"));
    assert_eq!(stored(leader, "k").as_deref(), Some("\"old\""), "it would have answered");
}
