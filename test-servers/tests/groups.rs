//! Redis servers that belong together.
#![cfg(target_os = "linux")]

use std::time::Duration;

use test_servers::{Redis, RedisCluster, RedisReplicas, Sentinels, Server, wait_until};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

fn has(redis: &Redis, key: &str, value: &str) -> bool {
    redis.command(&["GET", key]).is_ok_and(|it| it.text() == value)
}

#[test]
fn replicas_follow_their_leader() {
    let options = Redis::options().password("secret");
    let group = RedisReplicas::start_with(2, &options).unwrap();
    assert_eq!(group.replicas().len(), 2);
    group.leader().command(&["SET", "a", "1"]).unwrap();
    for it in group.replicas() {
        wait_until("a replica follows", LIMIT, || has(it, "a", "1")).unwrap();
        let err = it.command(&["SET", "a", "2"]).unwrap_err();
        assert!(format!("{err:#}").contains("READONLY"), "{err:#}");
    }
}

#[test]
fn sentinels_promote_a_replica_when_the_leader_is_killed() {
    let options = Redis::options().password("secret");
    let group = Sentinels::start_with(2, 3, &options).unwrap();
    assert_eq!((group.nodes().len(), group.sentinels().len()), (3, 3));
    let old = group.leader().unwrap();
    old.command(&["SET", "a", "1"]).unwrap();
    assert_eq!(old.command(&["WAIT", "2", "5000"]).unwrap().text(), "2");
    old.kill();
    let new = group.wait_for_other_leader(old).unwrap();
    assert_ne!(new.port(), old.port());
    assert!(has(new, "a", "1"));
    new.command(&["SET", "a", "2"]).unwrap();
}

#[test]
fn a_cluster_serves_all_slots_and_promotes_a_killed_masters_replica() {
    let cluster = RedisCluster::start(3, 3).unwrap();
    assert_eq!(cluster.urls().len(), 6);
    let masters: Vec<u16> =
        [0, 8_000, 16_383].iter().map(|it| cluster.master_of(*it).unwrap().port()).collect();
    let expected: Vec<u16> = cluster.nodes()[..3].iter().map(Server::port).collect();
    assert_eq!(masters, expected);
    cluster.master_of(16_384).unwrap_err();

    // Its slot is 12539, a fact of the protocol.
    let old = cluster.master_of(12_539).unwrap();
    old.command(&["SET", "123456789", "1"]).unwrap();
    assert_eq!(old.command(&["WAIT", "1", "5000"]).unwrap().text(), "1");
    old.kill();
    let new = cluster.wait_for_other_master(12_539, old).unwrap();
    assert_ne!(new.port(), old.port());
    assert!(has(new, "123456789", "1"));
    // Back, it is a replica.
    old.restart().unwrap();
    let follows = || old.command(&["ROLE"]).is_ok_and(|it| it.list()[0].text() == "slave");
    wait_until("the old master follows the new one", LIMIT, follows).unwrap();
}
