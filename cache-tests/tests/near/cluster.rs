//! Clusters: one stream for each node that takes writes.

use std::time::Duration;

use cache_core::{Cache, secs};
use test_servers::{Redis, RedisCluster, Server as _, slot_of};

use crate::support::{bypassed, group, near, unused_group, visible_at, wait_until, warm_key};

async fn cache(cluster: &RedisCluster, invalidation: &str) -> Cache {
    group(&cluster.urls(), "topology = 'cluster'", invalidation).await
}

/// Returns a cache that has not connected yet.
fn unused(cluster: &RedisCluster, invalidation: &str) -> Cache {
    unused_group(&cluster.urls(), "topology = 'cluster'", invalidation)
}

fn stored(key: &str) -> String {
    format!(":1:{key}")
}

/// Returns a key for each of these nodes, which serves it.
fn keys(cluster: &RedisCluster, nodes: &[Redis]) -> Vec<String> {
    let served = |node: &Redis| {
        let mut keys = (0..).map(|it| format!("k{it}"));
        keys.find(|it| master(cluster, it).port() == node.port()).unwrap()
    };
    nodes.iter().map(served).collect()
}

fn master<'a>(cluster: &'a RedisCluster, key: &str) -> &'a Redis {
    cluster.master_of(slot_of(&stored(key))).unwrap()
}

/// Another program writes at this node.
async fn seen(reader: &Cache, node: &Redis, key: &str, value: i64) {
    node.command(&["SET", &stored(key), &value.to_string()]).unwrap();
    visible_at(reader, key, Some(value)).await;
    warm_key(reader, key).await;
}

async fn in_use(reader: &Cache) {
    wait_until("the tier is in use", async || !near(reader).is_bypassed).await;
}

#[tokio::test]
async fn writes_to_every_node_are_seen() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let reader = cache(&cluster, "auto").await;
    assert_eq!(near(&reader).invalidation.as_str(), "tracking");
    let keys = keys(&cluster, cluster.nodes());
    for round in 0..20 {
        for (node, key) in cluster.nodes().iter().zip(&keys) {
            seen(&reader, node, key, round).await;
        }
    }
    assert_eq!(near(&reader).resets, 1, "at the beginning of the stream");
}

#[tokio::test]
async fn writes_to_every_node_are_seen_with_pubsub() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let (reader, writer) = (cache(&cluster, "pubsub").await, cache(&cluster, "pubsub").await);
    let keys = keys(&cluster, cluster.nodes());
    for round in 0..20 {
        for key in &keys {
            writer.set(key, &round, secs(600)).await.unwrap();
            visible_at(&reader, key, Some(round)).await;
            warm_key(&reader, key).await;
        }
    }
    // A batch, and a rename between two nodes.
    let failures = writer.set_many(keys.iter().map(|it| (it, 100)), secs(600)).await.unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    for key in &keys {
        visible_at(&reader, key, Some(100)).await;
        warm_key(&reader, key).await;
    }
    assert!(writer.backend().rename(&stored(&keys[0]), &stored(&keys[1])).await.unwrap());
    visible_at(&reader, &keys[0], None).await;
    assert_eq!(writer.delete_many(&keys).await.unwrap(), 2);
    visible_at(&reader, &keys[1], None).await;
    visible_at(&reader, &keys[2], None).await;
    writer.set(&keys[2], &1, secs(600)).await.unwrap();
    visible_at(&reader, &keys[2], Some(1)).await;
    warm_key(&reader, &keys[2]).await;
    writer.clear().await.unwrap();
    visible_at(&reader, &keys[2], None).await;
}

/// No stream has told the writer that its server refuses tracking.
#[tokio::test]
async fn process_that_only_writes_publishes_its_keys() {
    let rules = ["~*", "&*", "+@all", "-client|tracking"];
    let options = Redis::options().user("shop", "pw", &rules);
    let cluster = RedisCluster::start_with(3, 0, &options).unwrap();
    let reader = cache(&cluster, "auto").await;
    assert_eq!(near(&reader).invalidation.as_str(), "pubsub");
    // Several slots of each node.
    let keys: Vec<_> = (0..30).map(|it| format!("k{it}")).collect();
    for round in 0..5 {
        // Its first call is a batch.
        let writer = unused(&cluster, "auto");
        let failures = writer.set_many(keys.iter().map(|it| (it, round)), secs(600)).await.unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        for key in &keys {
            visible_at(&reader, key, Some(round)).await;
            warm_key(&reader, key).await;
        }
        assert_eq!(writer.delete_many(&keys).await.unwrap(), 30);
        for key in &keys {
            visible_at(&reader, key, None).await;
        }
    }
}

/// Sets the memory limit of these nodes.
fn limit(nodes: &[Redis], bytes: &str) {
    for it in nodes {
        it.command(&["CONFIG", "SET", "maxmemory", bytes]).unwrap();
    }
}

/// Nodes that have reached `maxmemory` reject transactions.
async fn full_nodes_make_room(cluster: &RedisCluster, invalidation: &str) {
    let reader = cache(cluster, invalidation).await;
    let keys: Vec<_> = (0..30).map(|it| format!("k{it}")).collect();
    let writer = || unused(cluster, invalidation).strict();
    let fill = async || {
        limit(cluster.nodes(), "0");
        let items = keys.iter().map(|it| (it, 1));
        writer().set_many(items, secs(600)).await.unwrap().into_result().unwrap();
        for key in &keys {
            visible_at(&reader, key, Some(1)).await;
            warm_key(&reader, key).await;
        }
        limit(cluster.nodes(), "1");
    };
    let gone = async |keys: &[String]| {
        for key in keys {
            visible_at(&reader, key, None).await;
        }
    };
    fill().await;
    let other = writer();
    for key in &keys[..10] {
        assert!(other.delete(key).await.unwrap());
    }
    gone(&keys[..10]).await;
    assert_eq!(other.pop::<i64>(&keys[10]).await.unwrap(), Some(1));
    assert!(other.touch(&keys[11], Duration::from_millis(1)).await.unwrap());
    gone(&keys[10..12]).await;
    // The first call of a process is a batch.
    assert_eq!(writer().delete_many(&keys[12..]).await.unwrap(), 18);
    gone(&keys).await;
    fill().await;
    writer().clear().await.unwrap();
    gone(&keys).await;

    // The key migrates from one full node to another one.
    fill().await;
    let other = writer();
    let slot = slot_of(&stored("k1"));
    let from = cluster.master_of(slot).unwrap().port();
    let to = cluster.nodes().iter().find(|it| it.port() != from).unwrap();
    limit(cluster.nodes(), "0");
    let mut moving = cluster.begin_move(slot, to).unwrap();
    moving.move_keys(10).unwrap();
    limit(cluster.nodes(), "1");
    assert_eq!(other.delete_many(&keys[..3]).await.unwrap(), 3);
    gone(&keys[..3]).await;
    moving.finish().unwrap();
    limit(cluster.nodes(), "0");

    // A move from a full node to another one makes room.
    let [from, to] = [4, 5].map(|it| stored(&keys[it]));
    let lock = format!("{from}\u{1}move");
    let node = |key: &str| cluster.master_of(slot_of(key)).unwrap();
    assert!(node(&from).port() != node(&to).port() && node(&from).port() != node(&lock).port());
    limit(std::slice::from_ref(node(&from)), "1");
    assert!(other.backend().rename(&from, &to).await.unwrap());
    visible_at(&reader, &keys[4], None).await;
    limit(cluster.nodes(), "0");
}

#[tokio::test]
async fn deletes_at_full_nodes_are_seen_with_pubsub() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    full_nodes_make_room(&cluster, "pubsub").await;
}

#[tokio::test]
async fn deletes_at_full_nodes_that_refuse_tracking_are_seen() {
    let rules = ["~*", "&*", "+@all", "-client|tracking"];
    let options = Redis::options().user("shop", "pw", &rules);
    let cluster = RedisCluster::start_with(3, 0, &options).unwrap();
    full_nodes_make_room(&cluster, "auto").await;
}

async fn killed_node(invalidation: &str) {
    let cluster = RedisCluster::start(3, 3).unwrap().patient().unwrap();
    let reader = cache(&cluster, invalidation).await;
    let writer = cache(&cluster, invalidation).await;
    let keys = keys(&cluster, &cluster.nodes()[..3]);
    for key in &keys {
        writer.set(key, &1, secs(600)).await.unwrap();
        visible_at(&reader, key, Some(1)).await;
        warm_key(&reader, key).await;
    }
    cluster.wait_for_replicas().unwrap();
    let old = &cluster.nodes()[0];
    old.kill();
    bypassed(&reader).await;
    cluster.wait_for_other_master(slot_of(&stored(&keys[0])), old).unwrap();
    wait_until("writes succeed", async || {
        writer.strict().set(&keys[0], &2, secs(600)).await.is_ok()
    })
    .await;
    in_use(&reader).await;
    visible_at(&reader, &keys[0], Some(2)).await;
    for round in 3..10 {
        for key in &keys {
            writer.strict().set(key, &round, secs(600)).await.unwrap();
            visible_at(&reader, key, Some(round)).await;
            warm_key(&reader, key).await;
        }
    }
}

#[tokio::test]
async fn killed_node_empties_the_tier_and_writes_of_its_successor_are_seen() {
    killed_node("tracking").await;
}

#[tokio::test]
async fn killed_node_empties_the_tier_with_pubsub() {
    killed_node("pubsub").await;
}

/// Both nodes report changes already, so the stream goes on.
#[tokio::test]
async fn writes_to_a_slot_that_moves_are_seen() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let reader = cache(&cluster, "tracking").await;
    let key = "k";
    for round in 0..10 {
        let from = master(&cluster, key);
        seen(&reader, from, key, -round - 1).await;
        let to = cluster.nodes().iter().find(|it| it.port() != from.port()).unwrap();
        let mut moving = cluster.begin_move(slot_of(&stored(key)), to).unwrap();
        moving.move_keys(10).unwrap();
        let asking = ["SET", &stored(key), &round.to_string()];
        let mut connection = to.connect().unwrap();
        connection.command(&["ASKING"]).unwrap();
        connection.command(&asking).unwrap();
        visible_at(&reader, key, Some(round)).await;
        warm_key(&reader, key).await;
        moving.finish().unwrap();
        seen(&reader, to, key, round + 100).await;
    }
    assert_eq!(near(&reader).resets, 1, "at the beginning of the stream");
}

/// A node joins, and takes a slot. No call of this process reaches it: the others name it.
#[tokio::test]
async fn writes_to_a_new_node_are_seen() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let reader = cache(&cluster, "tracking").await;
    let key = "k";
    seen(&reader, master(&cluster, key), key, 1).await;
    let migration = cluster.migrate_to_new_node(slot_of(&stored(key))).unwrap();
    migration.take(&stored(key)).unwrap();
    migration.own_slot();
    wait_until("the stream includes the new node", async || near(&reader).resets > 1).await;
    tokio::time::timeout(Duration::from_secs(120), in_use(&reader)).await.unwrap();
    for round in 2..10 {
        seen(&reader, migration.node(), key, round).await;
    }
}
