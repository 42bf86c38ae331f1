//! Slots that migrate while their keys are in use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{
    Cache, Timeout, Ttl, secs,
    store::{Expected, TtlUpdate},
};
use fault_tests::{PATIENT, keys, report, stored_key, timed, until};
use test_servers::{Redis, RedisCluster, Server as _, slot_of};

use crate::support::{CLUSTERED, cache};

fn of(cluster: &RedisCluster) -> Cache {
    with_prefix(cluster, "")
}

fn with_prefix(cluster: &RedisCluster, prefix: &str) -> Cache {
    let more = format!("key_prefix = {prefix:?}\n{PATIENT}{CLUSTERED}");
    cache(&cluster.urls(), &more).strict()
}

/// Returns keys of one slot.
fn tagged(tag: &str, name: &str, count: usize) -> Vec<String> {
    keys(&format!("{{{tag}}}{name}"), count)
}

fn slot(tag: &str) -> usize {
    slot_of(&stored_key(&format!("{{{tag}}}")))
}

/// Returns a master that does not serve the slot.
fn other(cluster: &RedisCluster, slot: usize) -> &Redis {
    let has = cluster.master_of(slot).unwrap().port();
    let mut masters = cluster.nodes().iter();
    masters.find(|it| it.port() != has).unwrap()
}

/// Reads and writes all keys until `over` is set, and counts the rounds.
async fn use_all(
    cache: Cache,
    tag: &'static str,
    n: usize,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let fixed = tagged(tag, "fixed", 60);
    let own = tagged(tag, &format!("task{n}-"), 5);
    let counter = format!("{{{tag}}}counter");
    let mut rounds = 0;
    while !over.load(Ordering::SeqCst) {
        let found = cache.get_many::<String, _>(&fixed).await.unwrap();
        assert_eq!(found.len(), fixed.len(), "a key was missed");
        assert!(found.iter().all(|(key, value)| key == &value), "another's value");
        for key in fixed.iter().skip(n).step_by(8) {
            assert_eq!(cache.get::<String>(key).await.unwrap().as_ref(), Some(key));
            let entry = cache.backend().get_entry(&stored_key(key)).await.unwrap().unwrap();
            assert_eq!(entry.value, format!("\"{key}\""));
        }
        let failed =
            cache.set_many(own.iter().map(|it| (it, rounds)), Timeout::Default).await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(cache.get::<u64>(&own[0]).await.unwrap(), Some(rounds));
        assert_eq!(cache.delete_many(&own).await.unwrap(), 5);
        cache.set(&own[0], &rounds, Timeout::Default).await.unwrap();
        assert!(cache.delete(&own[0]).await.unwrap());
        cache.incr_or(&counter, 1, 0, secs(600)).await.unwrap();
        rounds += 1;
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// A slot migrates back and forth under load. In strict mode no call fails, no key is missed, and
/// no count is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_keys_are_served_all_the_time() {
    const TAG: &str = "moving";
    let cluster = RedisCluster::start(3, 0).unwrap();
    let cache = of(&cluster);
    for key in tagged(TAG, "fixed", 60) {
        cache.set(&key, &key, Timeout::Default).await.unwrap();
    }
    let (over, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let task = |n| tokio::spawn(use_all(cache.clone(), TAG, n, over.clone(), done.clone()));
    let tasks: Vec<_> = (0..8).map(task).collect();
    let began = Instant::now();
    let mut moves = 0;
    // At least twice each, and until the tasks, which may be slow, have made some rounds.
    for most in [1, 2, 3, 7, 20, 100].into_iter().cycle() {
        if moves >= 12 && done.load(Ordering::SeqCst) > 16 {
            break;
        }
        let slot = slot(TAG);
        let mut moving = cluster.begin_move(slot, other(&cluster, slot)).unwrap();
        while moving.move_keys(most).unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        moving.finish().unwrap();
        moves += 1;
    }
    let took = began.elapsed();
    over.store(true, Ordering::SeqCst);
    for it in tasks {
        it.await.unwrap();
    }
    let counter = format!("{{{TAG}}}counter");
    let rounds = done.load(Ordering::SeqCst);
    assert_eq!(cache.get::<u64>(&counter).await.unwrap(), Some(rounds));
    report(&format!("Cluster, {moves} moves of a slot, strict"), "nothing", took);
}

/// Half-way through a migration, some keys are on the source and some on the target. Each call
/// finds its keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_found_half_way_through_a_migration() {
    const TAG: &str = "half";
    let cluster = RedisCluster::start(3, 0).unwrap();
    let cache = of(&cluster);
    let fixed = tagged(TAG, "fixed", 20);
    let counters = tagged(TAG, "counter", 20);
    for (key, counter) in fixed.iter().zip(&counters) {
        cache.set(key, key, secs(600)).await.unwrap();
        cache.set(counter, &0, secs(600)).await.unwrap();
    }
    let slot = slot(TAG);
    let mut moving = cluster.begin_move(slot, other(&cluster, slot)).unwrap();
    assert_eq!(moving.move_keys(20).unwrap(), 20);
    for round in 1..=3 {
        let found = cache.get_many::<String, _>(&fixed).await.unwrap();
        assert_eq!(found.len(), fixed.len());
        for (key, counter) in fixed.iter().zip(&counters) {
            assert_eq!(found[&key], *key);
            assert_eq!(cache.get::<String>(key).await.unwrap().as_ref(), Some(key));
            assert!(cache.has_key(key).await.unwrap());
            assert!(cache.ttl(key).await.unwrap().is_some());
            assert!(cache.touch(key, cache_core::Timeout::Never).await.unwrap());
            assert!(!cache.add(key, &"other", Timeout::Default).await.unwrap());
            assert_eq!(cache.incr(counter, 1).await.unwrap(), round);
            let entry = cache.backend().get_entry(&stored_key(key)).await.unwrap().unwrap();
            assert_eq!(entry.value, format!("\"{key}\""));
            assert_eq!(entry.ttl, Ttl::Forever);
            let counter_key = stored_key(counter);
            let entry = cache.backend().get_entry(&counter_key).await.unwrap().unwrap();
            assert_eq!(entry.value, round.to_string());
            assert!(matches!(entry.ttl, Ttl::Remaining(_)));
            let (seen, next) = (Expected::entry(&entry), (round + 100).to_string().into());
            let swap = cache.backend().compare_and_set(&counter_key, seen, next, TtlUpdate::Keep);
            assert!(swap.await.unwrap());
            assert_eq!(cache.incr(counter, -100).await.unwrap(), round);
        }
        let names: Vec<_> = fixed.iter().map(|it| stored_key(it)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for (key, entry) in fixed.iter().zip(cache.backend().get_entries(&names).await) {
            assert_eq!(entry.unwrap().unwrap().value, format!("\"{key}\""));
        }
        // New keys are created on the target of the migration.
        let counter = format!("{{{TAG}}}new-counter");
        assert_eq!(cache.incr_or(&counter, 2, 0, secs(600)).await.unwrap(), 2);
        assert_eq!(cache.incr(&counter, 1).await.unwrap(), 3);
        assert!(cache.delete(&counter).await.unwrap());
        let new = tagged(TAG, &format!("new{round}-"), 10);
        let failed = cache.set_many(new.iter().map(|it| (it, it)), Timeout::Default).await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(cache.get_many::<String, _>(&new).await.unwrap().len(), new.len());
        assert_eq!(cache.get::<String>(&format!("{{{TAG}}}none")).await.unwrap(), None);
        assert_eq!(cache.delete_many(&new).await.unwrap(), 10);
        assert!(cache.get_many::<String, _>(&new).await.unwrap().is_empty());
        assert_eq!(cache.pop::<String>(&fixed[0]).await.unwrap().as_ref(), Some(&fixed[0]));
        assert!(cache.add(&fixed[0], &fixed[0], Timeout::Default).await.unwrap());
    }
    assert_eq!(cache.delete_many(&counters).await.unwrap(), 20);
    moving.finish().unwrap();
    assert!(cache.get_many::<i64, _>(&counters).await.unwrap().is_empty());
    assert_eq!(cache.get_many::<String, _>(&fixed).await.unwrap().len(), fixed.len());
    assert_eq!(cache.delete_many(&fixed).await.unwrap(), 20);
}

/// `clear` during a migration removes all keys of the namespace, and no other keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_removes_migrating_keys() {
    const TAG: &str = "cleared";
    const KEYS: usize = 3000;
    let cluster = RedisCluster::start(3, 0).unwrap();
    let foreign = with_prefix(&cluster, "foreign");
    let cache = with_prefix(&cluster, "ours");
    let names = tagged(TAG, "k", KEYS);
    for key in &names[..100] {
        foreign.set(key, &1, Timeout::Default).await.unwrap();
    }
    let slot = slot(TAG);
    let (mut moved, mut longest) = (0, Duration::ZERO);
    for _ in 0..10 {
        let failed =
            cache.set_many(names.iter().map(|it| (it, 1)), Timeout::Default).await.unwrap();
        assert!(failed.is_empty());
        let mut moving = cluster.begin_move(slot, other(&cluster, slot)).unwrap();
        let clearing = tokio::spawn({
            let cache = cache.clone();
            async move { timed(cache.clear()).await }
        });
        // Keys migrate until `clear` is done, and the slot stays open.
        while !clearing.is_finished() {
            moved += moving.move_keys(50).unwrap();
        }
        let (res, took) = clearing.await.unwrap();
        res.unwrap();
        longest = longest.max(took);
        let left = |pattern| {
            let nodes = cluster.nodes().iter();
            let keys = nodes.map(|it| it.command(&["KEYS", pattern]).unwrap().list().len());
            keys.sum::<usize>()
        };
        assert_eq!(left("ours:*"), 0);
        assert_eq!(left("foreign:*"), 100);
        moving.finish().unwrap();
    }
    assert!(moved > 0);
    report(&format!("Cluster, clear while {moved} keys move"), "nothing is left", longest);
}

/// `clear` also removes keys that migrate at once from a server that it is scanning to a server
/// that it has scanned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_removes_keys_that_migrate_to_a_scanned_server() {
    const TAG: &str = "behind";
    let options = Redis::options().args(&["--enable-debug-command", "yes"]);
    let cluster = RedisCluster::start_with(2, 0, &options).unwrap();
    let slot = slot(TAG);
    let from = cluster.master_of(slot).unwrap();
    // The scan of one server takes long, and the scan of the other is immediate.
    from.command(&["DEBUG", "POPULATE", "300000", "foreign", "1"]).unwrap();
    let cache = with_prefix(&cluster, "ours");
    let names = tagged(TAG, "k", 500);
    assert!(
        cache.set_many(names.iter().map(|it| (it, 1)), Timeout::Default).await.unwrap().is_empty()
    );
    let mut moving = cluster.begin_move(slot, other(&cluster, slot)).unwrap();
    let clearing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.clear().await }
    });
    until("it has looked through a part", async || {
        let stats = from.command(&["INFO", "commandstats"]).unwrap().text();
        stats.contains("cmdstat_scan:")
    })
    .await;
    let moved = moving.move_keys(10_000).unwrap();
    let is_running = !clearing.is_finished();
    clearing.await.unwrap().unwrap();
    let left = cache.get_many::<i32, _>(&names).await.unwrap().len();
    moving.finish().unwrap();
    assert_eq!(left, 0, "of {moved} that were moved in the middle ({is_running}) of `clear`");
}

/// `clear` also removes keys on a server without slots, which no topology shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_finds_keys_on_a_server_without_slots() {
    const TAG: &str = "first";
    let cluster = RedisCluster::start(3, 0).unwrap();
    let cache = of(&cluster);
    let names = tagged(TAG, "k", 10);
    for key in &names {
        cache.set(key, key, Timeout::Default).await.unwrap();
    }
    let migration = cluster.migrate_to_new_node(slot(TAG)).unwrap();
    for key in &names[..5] {
        migration.take(&stored_key(key)).unwrap();
    }
    let new = migration.node();
    for key in &names {
        assert_eq!(cache.get::<String>(key).await.unwrap().as_ref(), Some(key));
    }
    let (res, took) = timed(cache.clear()).await;
    res.unwrap();
    let nothing_is_left = || {
        let mut nodes = cluster.nodes().iter().chain([new]);
        nodes.all(|it| it.command(&["DBSIZE"]).unwrap().text() == "0")
    };
    assert!(nothing_is_left());
    // New keys are created on the target.
    cache.set(&names[0], &1, Timeout::Default).await.unwrap();
    assert_eq!(new.command(&["DBSIZE"]).unwrap().text(), "1");
    cache.clear_store().await.unwrap();
    assert!(nothing_is_left());
    report("Cluster, clear while keys go to a new server", "nothing is left", took);
}
