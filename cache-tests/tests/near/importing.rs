//! A node of a Cluster that imports its first slot: no node lists it among those that serve one.

use cache_core::secs;
use test_servers::{Redis, RedisCluster, slot_of};

use crate::support::{group, in_use, near, visible, warm};

const STORED: &str = ":1:k";

/// Another program writes at the node to which the key migrates.
fn asking(node: &Redis, command: &[&str]) {
    let mut connection = node.connect().unwrap();
    connection.command(&["ASKING"]).unwrap();
    connection.command(command).unwrap();
}

#[tokio::test]
async fn writes_to_a_node_that_imports_its_first_slot_are_seen() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let reader = group(&cluster.urls(), "topology = 'cluster'", "tracking").await;
    reader.set("k", &1, secs(600)).await.unwrap();
    warm(&reader).await;
    let migration = cluster.migrate_to_new_node(slot_of(STORED)).unwrap();
    let new = migration.node();
    migration.take(STORED).unwrap();
    // The first read follows the redirect to the new node.
    visible(&reader, Some(1)).await;
    for round in 2..12 {
        warm(&reader).await;
        asking(new, &["SET", STORED, &round.to_string()]);
        visible(&reader, Some(round)).await;
    }
    warm(&reader).await;
    asking(new, &["DEL", STORED]);
    visible(&reader, None).await;
    asking(new, &["SET", STORED, "20"]);
    visible(&reader, Some(20)).await;
    warm(&reader).await;
    migration.own_slot();
    new.command(&["SET", STORED, "21"]).unwrap();
    visible(&reader, Some(21)).await;
    in_use(&reader).await;
    warm(&reader).await;
    assert!(near(&reader).resets < 10, "{:?}", near(&reader));
}
