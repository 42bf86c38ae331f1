//! Sentinels: the stream follows the leader, and ends when another server may be the leader.

use std::time::{Duration, Instant};

use cache_core::Cache;
use test_servers::{Redis, Sentinel, Sentinels, Server as _, resp::Connection};

use crate::support::{Standstill, bypassed, group, in_use, near, visible, wait_until, warm};

async fn reader(sentinels: &Sentinels, invalidation: &str) -> Cache {
    let urls: Vec<_> = sentinels.sentinels().iter().map(Sentinel::url).collect();
    let options = format!("topology = 'sentinel', service_name = '{}'", sentinels.name());
    group(&urls, &options, invalidation).await
}

/// Another process writes, without the store.
fn set(leader: &Redis, value: i64) {
    leader.command(&["SET", ":1:k", &value.to_string()]).unwrap();
    let channel = "cache-near:1:0:";
    leader.command(&["PUBLISH", channel, "keys\n:1:k"]).unwrap();
}

async fn seen(reader: &Cache, leader: &Redis, value: i64) {
    set(leader, value);
    visible(reader, Some(value)).await;
    warm(reader).await;
}

async fn killed_leader(invalidation: &str) {
    let sentinels = Sentinels::start(2, 3).unwrap().patient().unwrap();
    let reader = reader(&sentinels, invalidation).await;
    let old = sentinels.leader().unwrap();
    seen(&reader, old, 1).await;
    seen(&reader, old, 2).await;
    let resets = near(&reader).resets;
    old.kill();
    bypassed(&reader).await;
    let new = sentinels.wait_for_other_leader(old).unwrap();
    set(new, 3);
    in_use(&reader).await;
    visible(&reader, Some(3)).await;
    assert!(near(&reader).resets > resets);
    warm(&reader).await;
    seen(&reader, new, 4).await;
}

#[tokio::test]
async fn killed_leader_empties_the_tier_and_writes_of_the_next_are_seen() {
    killed_leader("tracking").await;
}

#[tokio::test]
async fn killed_leader_empties_the_tier_with_pubsub() {
    killed_leader("pubsub").await;
}

/// The old leader runs, and answers.
#[tokio::test]
async fn planned_failover_empties_the_tier() {
    let sentinels = Sentinels::start(1, 3).unwrap().patient().unwrap();
    let reader = reader(&sentinels, "tracking").await;
    seen(&reader, sentinels.leader().unwrap(), 1).await;
    let resets = near(&reader).resets;
    let new = sentinels.fail_over().unwrap();
    set(new, 2);
    visible(&reader, Some(2)).await;
    wait_until("the tier was emptied", async || near(&reader).resets > resets).await;
    in_use(&reader).await;
    warm(&reader).await;
    seen(&reader, new, 3).await;
}

/// The old leader does not know yet that it is one no more, and its connections stay open.
#[tokio::test]
async fn reads_go_to_the_leader_of_the_stream() {
    let sentinels = Sentinels::start(1, 1).unwrap().patient().unwrap();
    let reader = reader(&sentinels, "tracking").await;
    let old = sentinels.leader().unwrap();
    seen(&reader, old, 1).await;
    sentinels.wait_for_replicas().unwrap();
    let resets = near(&reader).resets;
    old.command(&["ACL", "SETUSER", "default", "-replicaof", "-slaveof"]).unwrap();
    wait_until("the Sentinel can fail over", async || {
        let mut sentinel = Connection::open(sentinels.sentinels()[0].address()).unwrap();
        sentinel.command(&["SENTINEL", "FAILOVER", sentinels.name()]).is_ok()
    })
    .await;
    let new = sentinels.wait_for_other_leader(old).unwrap();
    wait_until("the tier was emptied", async || near(&reader).resets > resets).await;
    in_use(&reader).await;
    set(new, 2);
    // A read that goes to the old leader would be kept.
    let _ = reader.get::<i64>("k").await.unwrap();
    old.command(&["ACL", "SETUSER", "default", "+@all"]).unwrap();
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]).unwrap();
    old.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
    visible(&reader, Some(2)).await;
    in_use(&reader).await;
    warm(&reader).await;
    seen(&reader, new, 3).await;
}

/// The connections stay open, and the Sentinels still name the server.
#[tokio::test]
async fn leader_that_became_a_replica_ends_the_stream() {
    let sentinels = Sentinels::start(0, 1).unwrap().patient().unwrap();
    let reader = reader(&sentinels, "tracking").await;
    let leader = sentinels.leader().unwrap();
    seen(&reader, leader, 1).await;
    leader.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    bypassed(&reader).await;
    leader.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    in_use(&reader).await;
    seen(&reader, leader, 2).await;
}

/// A process that is alone with the old leader and one Sentinel cannot know of a failover. The tier
/// is in use for 4 seconds at most.
#[tokio::test]
async fn leader_without_most_of_the_sentinels_ends_the_stream() {
    let sentinels = Sentinels::start(0, 3).unwrap().patient().unwrap();
    let reader = reader(&sentinels, "tracking").await;
    let leader = sentinels.leader().unwrap();
    seen(&reader, leader, 1).await;
    let [one, two, _] = sentinels.sentinels() else { panic!("three Sentinels") };
    one.freeze();
    // Two of three still name the leader. A machine that stands still for long may end the stream.
    let mut runs = 1;
    while !stays_in_use(&reader, Duration::from_secs(6)).await {
        runs += 1;
        assert!(runs <= 3, "the stream ended {runs} times");
        in_use(&reader).await;
    }
    let standstill = Standstill::measure(&reader);
    two.freeze();
    let began = Instant::now();
    bypassed(&reader).await;
    let (took, late) = (began.elapsed(), standstill.longest());
    println!("bypassed after {took:?}");
    // Four seconds are the promise; the rest is for a slow machine.
    assert!(took < Duration::from_secs(8) + 2 * late, "{took:?}, late by {late:?}");
    assert_eq!(reader.get::<i64>("k").await.unwrap(), Some(1), "the leader answers");
    two.thaw();
    in_use(&reader).await;
    seen(&reader, leader, 2).await;
    one.thaw();
}

/// Returns whether the tier was in use all the time.
///
/// # Panics
/// If it was bypassed although nothing stood still for long.
async fn stays_in_use(reader: &Cache, time: Duration) -> bool {
    let standstill = Standstill::measure(reader);
    let (began, mut is_in_use) = (Instant::now(), true);
    while is_in_use && began.elapsed() < time {
        // sleeps: nothing is to happen
        tokio::time::sleep(Duration::from_millis(10)).await;
        is_in_use = !near(reader).is_bypassed;
    }
    let late = standstill.longest();
    assert!(is_in_use || late > Duration::from_secs(1), "bypassed, late by {late:?}");
    is_in_use
}
