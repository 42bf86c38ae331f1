//! A reply that is lost: the server executed the command once, or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Timeout, secs};
use fault_tests::{
    LONG, NO_BREAKER, PATIENT, is_outage, keys,
    load::{Freshness, Load, counter},
    once::count,
    report, stored_key, timed, until,
};
use futures_util::future::join_all;
use test_servers::{Proxy, Redis, RedisCluster, Server as _, proxy::Direction};

use crate::support::{CLUSTERED, OnRedis, cache, cache_through};

fault_tests::once!(OnRedis);

/// The connection ends instead of the reply to an `incr`. The caller receives an error, and the
/// server has counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incr_with_a_cut_off_reply_counts_once() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let cache = cache_through(&proxy, &format!("{PATIENT}{NO_BREAKER}"));
    // From now on, the server knows the script, so that each `incr` is one command.
    cache.incr_or("n", 0, 0, Timeout::Default).await.unwrap();
    let mut longest = Duration::ZERO;
    for round in 0..40 {
        until("it works", async || cache.strict().has_key("n").await.is_ok()).await;
        proxy.truncate_after(0);
        let (res, took) = timed(cache.incr("n", 1)).await;
        let error = res.unwrap_err();
        assert!(is_outage(&error), "{error}");
        assert_eq!(count::<OnRedis>(&redis, "n"), round + 1);
        longest = longest.max(took);
    }
    assert!(longest < LONG);
    report("the answer to an incr is cut off", "`Unavailable`; it has counted once", longest);
}

/// The retry layer does not repeat a call whose outcome is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incr_with_a_lost_reply_is_not_retried() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let of = |deadline| {
        let retries = "[caches.default.retry]\nretries = 3\n";
        cache_through(&proxy, &format!("{deadline}{NO_BREAKER}{retries}")).strict()
    };
    let (hasty, patient) = (of("deadline = \"200ms\"\n"), of(PATIENT));
    assert_eq!(patient.incr_or("n", 0, 0, secs(60)).await.unwrap(), 0);
    let (mut counted, mut lost) = (0, [0; 2]);
    for round in 0..50 {
        let is_swallowed = round % 2 == 0;
        // A swallowed reply ends with the deadline. A cut-off reply must end before it.
        let cache = if is_swallowed { &hasty } else { &patient };
        until("it works", async || cache.has_key("n").await.is_ok()).await;
        let before = proxy.swallowed();
        let expected = if is_swallowed {
            proxy.swallow(Direction::ToClient);
            ErrorKind::TimedOut
        } else {
            proxy.truncate_after(2);
            ErrorKind::Unavailable
        };
        let error = cache.incr("n", 1).await.unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
        // Otherwise the machine was so slow that the call may have had no reply to lose.
        let is_lost = !is_swallowed || proxy.swallowed() > before;
        proxy.pass();
        proxy.cut();
        until("it works", async || cache.has_key("n").await.is_ok()).await;
        let now = count::<OnRedis>(&redis, "n");
        assert!(now == counted + 1 || now == counted && !is_lost, "{now} after {counted}");
        counted = now;
        until("it works", async || patient.has_key("n").await.is_ok()).await;
        assert_eq!(patient.get::<i64>("n").await.unwrap(), Some(counted));
        lost[usize::from(is_swallowed)] += u32::from(is_lost);
        if lost.iter().all(|it| *it >= 2) {
            return;
        }
    }
    panic!("no replies were lost: {lost:?}");
}

/// The same in a Cluster: connections are killed, and servers freeze past the deadline and then
/// execute the commands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incr_in_a_disturbed_cluster_counts_at_most_once() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let cache = cache(&cluster.urls(), CLUSTERED);
    let names = keys("n", 24);
    let load = Load::start(&cache.strict(), names.clone(), Freshness::Any);
    until("all work", async || load.has("incr", "done", 100)).await;
    for round in 0..30_u64 {
        let node = &cluster.nodes()[usize::try_from(round).unwrap() % 3];
        // The reply arrives before the connection ends.
        node.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
        let tried = load.seen().attempts("incr");
        until("calls went on", async || load.seen().attempts("incr") > tried + 24).await;
    }
    let killed = load.seen();
    report("Cluster, connections killed, strict", &killed.to_string(), killed.longest());
    // Failures of any kind. The breaker opens after a few, and then admits the first call of a
    // round only now and then.
    let timed_out = || {
        let seen = load.seen();
        ["set", "get", "incr"].iter().map(|it| seen.of(it, "TimedOut")).sum::<u64>()
    };
    for node in cluster.nodes() {
        let before = timed_out();
        node.freeze();
        until("some time out", async || timed_out() > before).await;
        node.thaw();
        cluster.wait_until_served().unwrap();
    }
    let seen = load.stop().await;
    report("Cluster, servers frozen in turn, strict", &seen.to_string(), seen.longest());
    assert!(seen.has_only_outages(), "{seen}");
    assert!(seen.longest() < LONG);

    let mut counted = 0;
    for key in &names {
        let key = stored_key(&counter(key));
        let node = cluster.master_of(test_servers::slot_of(&key)).unwrap();
        counted += node.command(&["GET", &key]).unwrap().text().parse::<u64>().unwrap();
    }
    let (acknowledged, asked) = (seen.of("incr", "done"), seen.attempts("incr"));
    let told = format!("{asked} asked, {acknowledged} acknowledged, {counted} counted");
    report("Cluster, disturbed", &told, seen.longest());
    assert!((acknowledged..=asked).contains(&counted), "{told}");
    assert!(acknowledged < asked, "{told}");
}

/// Connections are killed and scripts are flushed during the count. Rejected commands were not
/// executed, so they are sent again, and the counts are exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_scripts_are_loaded_again_and_counts_are_exact() {
    const TASKS: u64 = 16;
    const ROUNDS: u64 = 100;
    let redis = Arc::new(Redis::start().unwrap());
    let cache = cache(&[redis.url()], PATIENT).strict();
    let (done, mut counting) = tokio::sync::mpsc::channel::<()>(1);
    let flushes = Arc::<AtomicU64>::default();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (cache, done, flushes) = (cache.clone(), done.clone(), flushes.clone());
            tokio::spawn(async move {
                let mut rounds = 0;
                while rounds < ROUNDS || flushes.load(Ordering::SeqCst) <= 3 {
                    cache.incr_or("n", 1, 0, secs(600)).await.unwrap();
                    rounds += 1;
                }
                drop(done);
                rounds
            })
        })
        .collect();
    drop(done);
    let mut connection = redis.connect().unwrap();
    while counting.try_recv() == Err(tokio::sync::mpsc::error::TryRecvError::Empty) {
        connection.command(&["SCRIPT", "FLUSH"]).unwrap();
        flushes.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    let (rounds, took) = timed(join_all(tasks.into_iter().map(async |it| it.await.unwrap()))).await;
    assert_eq!(cache.get::<u64>("n").await.unwrap(), Some(rounds.into_iter().sum()));
    let flushes = flushes.load(Ordering::SeqCst);
    report(&format!("SCRIPT FLUSH, {flushes} times"), "nothing; counts are exact", took);
}

/// `CLIENT KILL` ends all connections during calls. Those calls fail, the next calls connect again,
/// and no call counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_replaced() {
    let redis = Redis::start().unwrap();
    let cache: Cache = cache(&[redis.url()], &format!("{PATIENT}{NO_BREAKER}"));
    let names = keys("n", 32);
    let load = Load::start(&cache.strict(), names.clone(), Freshness::Latest);
    until("all work", async || load.has("incr", "done", 64)).await;
    for _ in 0..50 {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
        let done = load.seen().of("incr", "done");
        until("calls go on", async || load.has("incr", "done", done + 16)).await;
    }
    let seen = load.stop().await;
    report("CLIENT KILL of all, 50 times, strict", &seen.to_string(), seen.longest());
    assert!(seen.has_only_outages(), "{seen}");
    let counted: i64 = names.iter().map(|it| count::<OnRedis>(&redis, &counter(it))).sum();
    let counted = u64::try_from(counted).unwrap();
    assert!(
        (seen.of("incr", "done")..=seen.attempts("incr")).contains(&counted),
        "{counted}: {seen}"
    );
}
