//! Groups of Redis servers: replicas, Sentinels, clusters.
#![cfg(target_os = "linux")]

use std::time::Duration;

use test_servers::{
    Redis, RedisCluster, RedisReplicas, Sentinels, Server, resp::Reply, slot_of, wait_until,
};

/// Much longer than any of these tests takes.
const LIMIT: Duration = Duration::from_secs(120);

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
fn replicas_have_every_write_after_waiting_for_them() {
    let group = RedisReplicas::start(2).unwrap();
    let mut leader = group.leader().connect().unwrap();
    let replicas = group.replicas().iter();
    let mut replicas: Vec<_> = replicas.map(|it| it.connect().unwrap()).collect();
    // So much data that a replica is still busy after the leader has replied.
    let script = "for i = 1, 10000 do redis.call('SET', KEYS[1], ARGV[1] - 10000 + i) end";
    for n in 0..50 {
        let n = n.to_string();
        leader.command(&["EVAL", script, "1", "n", &n]).unwrap();
        group.wait_for_replicas().unwrap();
        for it in &mut replicas {
            assert_eq!(it.command(&["GET", "n"]).unwrap().text(), n);
        }
    }
    // A stopped replica is not waited for; after its restart it is.
    let late = &group.replicas()[0];
    late.kill();
    group.leader().command(&["SET", "n", "x"]).unwrap();
    group.wait_for_replicas().unwrap();
    late.restart().unwrap();
    group.wait_for_replicas().unwrap();
    assert!(has(late, "n", "x"));
}

#[test]
fn leader_becomes_a_replica_after_a_failover() {
    let group = Sentinels::start(1, 3).unwrap().patient().unwrap();
    // Twice, in both directions.
    for round in ["1", "2"] {
        let old = group.leader().unwrap();
        old.command(&["SET", "a", round]).unwrap();
        // Writes that only the old leader has would be lost.
        group.wait_for_replicas().unwrap();
        let new = group.fail_over().unwrap();
        assert!(old.is_running() && new.port() != old.port());
        assert!(has(new, "a", round));
        let err = format!("{:#}", old.command(&["SET", "a", "lost"]).unwrap_err());
        assert!(err.contains("READONLY"), "{err}");
        new.command(&["SET", "a", "new"]).unwrap();
        group.wait_for_replicas().unwrap();
        assert!(has(old, "a", "new"));
    }
}

#[test]
fn sentinels_promote_a_replica_when_the_leader_is_killed() {
    let options = Redis::options().password("secret");
    let group = Sentinels::start_with(2, 3, &options).unwrap().patient().unwrap();
    assert_eq!((group.nodes().len(), group.sentinels().len()), (3, 3));
    let old = group.leader().unwrap();
    old.command(&["SET", "a", "1"]).unwrap();
    group.wait_for_replicas().unwrap();
    old.kill();
    let new = group.wait_for_other_leader(old).unwrap();
    assert_ne!(new.port(), old.port());
    assert!(has(new, "a", "1"));
    new.command(&["SET", "a", "2"]).unwrap();
}

#[test]
fn cluster_serves_all_slots_and_promotes_the_replica_of_a_killed_master() {
    let cluster = RedisCluster::start(3, 3).unwrap().patient().unwrap();
    assert_eq!(cluster.urls().len(), 6);
    let masters: Vec<u16> =
        [0, 8_000, 16_383].iter().map(|it| cluster.master_of(*it).unwrap().port()).collect();
    let expected: Vec<u16> = cluster.nodes()[..3].iter().map(Server::port).collect();
    assert_eq!(masters, expected);
    cluster.master_of(16_384).unwrap_err();

    let slot = slot_of("a");
    let old = cluster.master_of(slot).unwrap();
    old.command(&["SET", "a", "1"]).unwrap();
    cluster.wait_for_replicas().unwrap();
    old.kill();
    let new = cluster.wait_for_other_master(slot, old).unwrap();
    assert_ne!(new.port(), old.port());
    assert!(has(new, "a", "1"));
    // After the restart it is a replica.
    old.restart().unwrap();
    let follows = || old.command(&["ROLE"]).is_ok_and(|it| it.list()[0].text() == "slave");
    wait_until("the old master follows the new one", LIMIT, follows).unwrap();
}

/// Returns the server's error.
fn error(redis: &Redis, words: &[&str]) -> String {
    format!("{:#}", redis.command(words).unwrap_err())
}

#[test]
fn moving_slot_redirects_clients_and_keeps_its_keys() {
    let options = Redis::options().password("secret");
    let cluster = RedisCluster::start_with(2, 1, &options).unwrap().patient().unwrap();
    let slot = slot_of("{tag}");
    let old = cluster.master_of(slot).unwrap();
    let new = cluster.nodes()[..2].iter().find(|it| it.port() != old.port()).unwrap();
    let keys: Vec<String> = (0..250).map(|it| format!("{{tag}}{it}")).collect();
    let mut connection = old.connect().unwrap();
    for key in &keys {
        connection.command(&["SET", key, key, "EX", "1000"]).unwrap();
    }

    let mut moving = cluster.begin_move(slot, new).unwrap();
    assert_eq!((moving.from().port(), moving.to().port()), (old.port(), new.port()));
    assert_eq!(moving.move_keys(10).unwrap(), 10);
    let (still, moved): (Vec<&str>, Vec<&str>) =
        keys.iter().map(String::as_str).partition(|it| has(old, it, it));
    assert_eq!((still.len(), moved.len()), (240, 10));
    let ask = format!("ASK {slot} 127.0.0.1:{}", new.port());
    assert!(error(old, &["GET", moved[0]]).ends_with(&ask));
    assert!(error(old, &["MGET", still[0], moved[0]]).contains("TRYAGAIN"));
    assert!(error(new, &["GET", moved[0]]).contains("MOVED"));
    let mut connection = new.connect().unwrap();
    connection.command(&["ASKING"]).unwrap();
    assert_eq!(connection.command(&["GET", moved[0]]).unwrap().text(), moved[0]);
    assert_eq!(cluster.master_of(slot).unwrap().port(), old.port());
    moving.finish().unwrap();

    assert_eq!(cluster.master_of(slot).unwrap().port(), new.port());
    assert!(keys.iter().all(|it| has(new, it, it)));
    let Reply::Int(left) = new.command(&["TTL", moved[0]]).unwrap() else { panic!("no number") };
    assert!((900..=1000).contains(&left), "{left}");
    let moved_to = format!("MOVED {slot} 127.0.0.1:{}", new.port());
    for node in cluster.nodes().iter().filter(|it| it.port() != new.port()) {
        assert!(error(node, &["GET", moved[0]]).ends_with(&moved_to));
    }
    // Back, in one step.
    cluster.move_slot(slot, old).unwrap();
    assert!(has(old, still[0], still[0]));
    cluster.wait_until_served().unwrap();
}

#[test]
fn slot_of_agrees_with_the_server() {
    let redis = Redis::options().args(&["--cluster-enabled", "yes"]).start().unwrap();
    for key in
        ["", "a", "123456789", "{tag}a", "a{tag}b", "a{}b", "{}", "a{b", "a}b{c}", "{{a}}b", "äöü"]
    {
        let reply = redis.command(&["CLUSTER", "KEYSLOT", key]).unwrap();
        assert_eq!(reply.text(), slot_of(key).to_string(), "{key}");
    }
}
