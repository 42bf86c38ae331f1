//! A Cluster node that dies or freezes, and slots that no server serves.

use std::time::{Duration, Instant};

use cache_core::{Cache, ErrorKind, Timeout};
use fault_tests::{
    LONG, PATIENT, is_outage, keys,
    load::{Freshness, Load, fails_open},
    report, stored_key, timed, until, with_lateness,
};
use test_servers::{Redis, RedisCluster, Server, Silent, slot_of};

use crate::support::{CLUSTERED, cache};

/// By default, a Cluster serves no key while a slot has no master. A cache needs the other keys.
fn start() -> RedisCluster {
    let options = Redis::options().args(&["--cluster-require-full-coverage", "no"]);
    RedisCluster::start_with(3, 3, &options).unwrap().patient().unwrap()
}

/// Returns keys that this master serves, and the same number of keys that other masters serve.
fn split(cluster: &RedisCluster, master: &Redis, name: &str) -> (Vec<String>, Vec<String>) {
    const EACH: usize = 16;
    let serves = |key: &String| {
        cluster.master_of(slot_of(&stored_key(key))).unwrap().port() == master.port()
    };
    let (mut mine, mut others): (Vec<_>, Vec<_>) =
        keys(name, 150).into_iter().map(|it| format!("{{{it}}}")).partition(serves);
    mine.truncate(EACH);
    others.truncate(EACH);
    assert_eq!((mine.len(), others.len()), (EACH, EACH));
    (mine, others)
}

/// Checks batches over all servers while one server is down. They run at the same time, before a
/// replica takes over.
async fn batches(cache: &Cache, lost: &[String], served: &[String], what: &str) {
    let all: Vec<_> = lost.iter().chain(served).collect();
    let strict = cache.strict();
    let ((found, get_took), strictly_found, (failed, set_took)) = tokio::join!(
        timed(cache.get_many::<String, _>(&all)),
        strict.get_many::<String, _>(&all),
        timed(cache.set_many(all.iter().map(|it| (it, "new")), Timeout::Default)),
    );
    let found = found.unwrap();
    assert_eq!(found.len(), served.len());
    assert!(served.iter().all(|it| found.contains_key(&it)));
    report(&format!("Cluster, {what}, get_many"), "the hits of the others", get_took);
    let error = strictly_found.unwrap_err();
    assert!(is_outage(&error), "{error}");
    let mut failed: Vec<_> = failed.unwrap().into_iter().map(|it| it.key).collect();
    failed.sort();
    let mut expected = lost.to_vec();
    expected.sort();
    assert_eq!(failed, expected);
    report(&format!("Cluster, {what}, set_many"), "lists the keys of the lost one", set_took);
}

async fn one_is_lost(what: &str, lose: fn(&Redis), find: fn(&Redis)) {
    let cluster = start();
    // The other nodes must not fail because the machine or its disk, on which nodes store the
    // current leader, is busy.
    let cache = cache(&cluster.urls(), &format!("deadline = \"5s\"\n{CLUSTERED}"));
    let master = &cluster.nodes()[0];
    let (lost, served) = split(&cluster, master, "open");
    let (strictly_lost, strictly_served) = split(&cluster, master, "strict");
    let (some_lost, some_served) = split(&cluster, master, "batch");
    for key in some_lost.iter().chain(&some_served) {
        until("it is stored", async || {
            cache.strict().set(key, &"value", Timeout::Default).await.is_ok()
        })
        .await;
    }
    let open_lost = Load::start(&cache, lost, Freshness::Any);
    let open_served = Load::start(&cache, served, Freshness::Latest);
    let strict_lost = Load::start(&cache.strict(), strictly_lost, Freshness::Any);
    let strict_served = Load::start(&cache.strict(), strictly_served, Freshness::Latest);
    let all = [&open_lost, &open_served, &strict_lost, &strict_served];
    until("all work", async || all.iter().all(|it| it.has("incr", "done", 32))).await;
    cluster.wait_for_replicas().unwrap();

    lose(master);
    let began = Instant::now();
    all.into_iter().for_each(Load::reset);
    batches(&cache, &some_lost, &some_served, what).await;
    until("it is noticed", async || strict_lost.seen().failed(None) > 0).await;
    let slot = slot_of(&stored_key(&some_lost[0]));
    // Until now, no node counts as failed.
    let failing = Instant::now();
    cluster.wait_for_other_master(slot, master).unwrap();
    report(&format!("Cluster, {what}, until another is promoted"), "", failing.elapsed());
    until("its keys are served", async || {
        cache.strict().set(&some_lost[0], &"newest", Timeout::Default).await.is_ok()
    })
    .await;
    report(&format!("Cluster, {what}, slot {slot}"), "works by the same handle", began.elapsed());
    let [lost, served, strictly_lost, strictly_served] = all.map(Load::seen);
    report(&format!("Cluster, {what}, its keys"), &lost.to_string(), lost.longest());
    report(
        &format!("Cluster, {what}, its keys, strict"),
        &strictly_lost.to_string(),
        strictly_lost.longest(),
    );
    report(
        &format!("Cluster, {what}, the others' keys, strict"),
        &strictly_served.to_string(),
        strictly_served.longest(),
    );
    // During the whole outage.
    assert_eq!(
        strictly_served.failed(None) + served.failed(None),
        0,
        "{strictly_served}; {served}"
    );
    assert_eq!(strictly_served.of("get", "miss") + served.of("get", "miss"), 0);
    assert!(fails_open(&lost), "{lost}");
    assert!(lost.has_only_outages() && strictly_lost.has_only_outages(), "{strictly_lost}");
    assert!(lost.longest().max(strictly_lost.longest()) < LONG);
    assert!(served.longest().max(strictly_served.longest()) < LONG);

    all.into_iter().for_each(Load::reset);
    until("all work", async || {
        all.iter().all(|it| it.has("incr", "done", 32) && it.has("get", "hit", 32))
    })
    .await;
    find(master);
    for it in [open_lost, open_served, strict_lost, strict_served] {
        it.stop().await;
    }
}

/// A master dies. The keys of the other masters are served all the time. Its own keys are misses
/// until its replica is promoted; then the same handle serves them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_master_affects_only_its_own_keys() {
    one_is_lost("master dead", Server::kill, |_| ()).await;
}

/// The same for a frozen master, where each call has to wait for its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_master_affects_only_its_own_keys() {
    one_is_lost("master frozen", Server::freeze, Server::thaw).await;
}

/// A slot without a server when the topology was read is an outage. The store finds its server as
/// soon as there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_without_a_server_is_served_once_it_has_one() {
    let cluster = RedisCluster::start(2, 0).unwrap();
    let key = "hole";
    let slot = slot_of(key);
    let owner = cluster.master_of(slot).unwrap();
    let word = slot.to_string();
    for it in cluster.nodes() {
        it.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).unwrap();
        it.command(&["CLUSTER", "DELSLOTS", &word]).unwrap();
    }
    let store = cache(&cluster.urls(), &format!("{PATIENT}{CLUSTERED}")).backend().clone();
    assert_eq!(store.get(key).await.unwrap_err().kind(), ErrorKind::Unavailable);
    owner.command(&["CLUSTER", "ADDSLOTS", &word]).unwrap();
    cluster.wait_until_served().unwrap();
    let found = until("it is found", async || store.get(key).await.is_ok());
    let (took, late) = with_lateness(found).await;
    report("Cluster, a slot that nobody served", "works by the same handle", took);
    assert!(took < Duration::from_secs(3) + late, "{took:?}, late by {late:?}");
}

/// Seeds that drop all packets do not prevent the connection to the other seeds.
#[tokio::test]
async fn silent_seeds_do_not_use_up_the_connect_deadline() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let silent: Vec<_> = (0..5).map(|_| Silent::start().unwrap()).collect();
    let silent = silent.iter().map(|it| format!("redis://{}", it.address()));
    let seeds: Vec<_> = silent.chain(cluster.urls()).collect();
    let patient = "deadline = \"20s\"\nconnect_deadline = \"60s\"\n";
    let cache = cache(&seeds, &format!("{patient}{CLUSTERED}")).strict();
    let (res, took) = timed(cache.set("k", &1, Timeout::Default)).await;
    res.unwrap();
    assert!(took < LONG, "{took:?}");
}
