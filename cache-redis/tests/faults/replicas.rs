//! Replicas of a Cluster that are added late, removed, or promoted, with `read_from = "replica"`.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use cache_core::store::{Expiry, SetMode};
use fault_tests::{PATIENT, until, with_lateness};
use test_servers::{Redis, RedisCluster, Server as _, slot_of};

use crate::support::{CLUSTERED, cache};

fn replica_of<'a>(cluster: &'a RedisCluster, leader: &Redis) -> &'a Redis {
    let id = leader.command(&["CLUSTER", "MYID"]).unwrap().text();
    let follows = |it: &&Redis| {
        let nodes = it.command(&["CLUSTER", "NODES"]).unwrap().text();
        nodes.lines().any(|it| it.contains("myself,slave") && it.contains(&id))
    };
    cluster.nodes().iter().find(follows).unwrap()
}

/// Whether this node lists the replica in `CLUSTER SLOTS`.
fn lists(asked: &Redis, replica: &Redis) -> bool {
    let port = replica.port().to_string();
    let slots = asked.command(&["CLUSTER", "SLOTS"]).unwrap();
    let mut nodes = slots.list().iter().flat_map(|it| it.list().iter().skip(2));
    nodes.any(|it| it.list().get(1).is_some_and(|it| it.text() == port))
}

/// Waits until all nodes list the replica: the store may ask any of them, and they learn of it from
/// each other, at intervals of their own.
async fn until_listed(cluster: &RedisCluster, replica: &Redis) {
    let is_listed = async || cluster.nodes().iter().all(|it| lists(it, replica));
    until("all nodes list the replica", is_listed).await;
}

/// Returns how many `GET` commands a server has received.
fn reads(at: &Redis) -> u32 {
    let stats = at.command(&["INFO", "commandstats"]).unwrap().text();
    let get = stats.lines().find(|it| it.starts_with("cmdstat_get:calls="));
    get.map_or(0, |it| it.split(['=', ',']).nth(1).unwrap().parse().unwrap())
}

/// Replicas that were not ready at the first refresh are used as soon as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_that_is_added_later_is_read() {
    let cluster = RedisCluster::start(3, 3).unwrap().patient().unwrap();
    let more = format!("{PATIENT}{CLUSTERED}read_from = \"replica\"\n");
    let store = cache(&cluster.urls(), &more).backend().clone();
    let leader = cluster.master_of(slot_of("k")).unwrap();
    let replica = replica_of(&cluster, leader);
    assert_eq!(store.get("k").await.unwrap(), None);
    let was_listed = lists(leader, replica);
    leader.command(&["SET", "k", "1"]).unwrap();
    until_listed(&cluster, replica).await;
    cluster.wait_for_replicas().unwrap();
    let before = reads(replica);
    let is_read = until("the replica is read", async || {
        assert_eq!(store.get("k").await.unwrap().unwrap(), "1");
        reads(replica) > before
    });
    let (took, late) = with_lateness(is_read).await;
    assert!(
        took < Duration::from_secs(3) + late,
        "{took:?}, late by {late:?} (listed at first: {was_listed})"
    );
}

/// A removed replica receives no more requests, and no reader notices its removal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_replica_receives_no_more_requests() {
    let cluster = RedisCluster::start(3, 3).unwrap().patient().unwrap();
    let leader = cluster.master_of(slot_of("k")).unwrap();
    leader.command(&["SET", "k", "1"]).unwrap();
    cluster.wait_for_replicas().unwrap();
    let gone = replica_of(&cluster, leader);
    until_listed(&cluster, gone).await;
    // A read from the replica that does not answer continues at the leader. A connection attempt
    // that is not answered soon is made again, and would be counted.
    let more = format!("deadline = \"20s\"\n{CLUSTERED}read_from = \"replica\"\n");
    let store = cache(&cluster.urls(), &more).backend().clone();
    let of_leader = store.clone().views().leader.unwrap();
    until("both are connected", async || {
        let found = [store.get("k").await, of_leader.get("k").await];
        found.into_iter().all(|it| it.is_ok_and(|it| it.unwrap() == "1"))
    })
    .await;
    gone.kill();
    // The store refreshes at once, before the other nodes know that the replica was removed.
    for _ in 0..20 {
        assert_eq!(store.get("k").await.unwrap().unwrap(), "1");
        // sleeps: the refreshes that the failures cause have pauses between them
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.expect_failures(true).unwrap();
    until("the others know that it is gone", async || {
        let mut running = cluster.nodes().iter().filter(|it| it.is_running());
        running.all(|it| !lists(it, gone))
    })
    .await;
    cluster.expect_failures(false).unwrap();
    // Accepts connections at the address of the removed replica.
    let listener = TcpListener::bind(gone.address()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (began, mut asked) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(6) {
        assert_eq!(store.get("k").await.unwrap().unwrap(), "1");
        asked += u32::from(listener.accept().is_ok());
        // sleeps: only time shows that no connection arrives
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked <= 1, "connected to {asked} times in 6 s");
}

/// "The same store with every read answered by the server that takes the writes": not by a server
/// that was the leader before a failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_view_does_not_read_from_a_demoted_leader() {
    let cluster = RedisCluster::start(3, 3).unwrap().patient().unwrap();
    let more = format!("{PATIENT}{CLUSTERED}read_from = \"replica\"\n");
    let store = cache(&cluster.urls(), &more).backend().clone().views().leader.unwrap();
    store.set("k", "1".into(), Expiry::Never, SetMode::Always).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), "1");
    cluster.wait_for_replicas().unwrap();
    let slot = slot_of("k");
    let old = cluster.master_of(slot).unwrap();
    let new = replica_of(&cluster, old);
    new.command(&["CLUSTER", "FAILOVER"]).unwrap();
    cluster.wait_for_other_master(slot, old).unwrap();
    let (old_before, new_before) = (reads(old), reads(new));
    for _ in 0..10 {
        assert_eq!(store.get("k").await.unwrap().unwrap(), "1");
    }
    assert_eq!(old.command(&["ROLE"]).unwrap().list()[0].text(), "slave");
    assert_eq!((reads(old) - old_before, reads(new) - new_before), (0, 10), "old, new");
}
