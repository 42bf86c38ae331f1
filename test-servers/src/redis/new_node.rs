//! A node that joins a cluster and takes its first slot.

use std::{slice, time::Duration};

use anyhow::Result;

use super::{Redis, RedisCluster, cluster::meet, resharding::BATCH_LIMIT};
use crate::{process::Server as _, wait};

const LIMIT: Duration = Duration::from_secs(120);

/// A node that has joined a cluster, and to which one slot migrates. Until it owns the slot, no
/// node lists it among those that serve slots.
#[derive(Debug)]
#[must_use = "the node ends when this is dropped"]
pub struct NewNode<'a> {
    cluster: &'a RedisCluster,
    from: &'a Redis,
    node: Redis,
    id: String,
    slot: String,
}

impl RedisCluster {
    /// Starts a node, lets it join, and opens a slot for the move to it.
    ///
    /// # Errors
    /// If the node does not start, or a node refuses a step or does not learn of the others.
    pub fn migrate_to_new_node(&self, slot: usize) -> Result<NewNode<'_>> {
        let from = self.master_of(slot)?;
        let node = Redis::options().args(&["--cluster-enabled", "yes"]).start()?;
        // Before a node may import a slot, it has to know the slots of the others.
        wait::poll("the new node knows the slots of the others", LIMIT, || {
            // Repeated, because a busy machine may delay a handshake until the node drops it.
            meet(from, slice::from_ref(&node))?;
            meet(&node, slice::from_ref(from))?;
            let info = node.command(&["CLUSTER", "INFO"])?.text();
            let knows =
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
            Ok(knows.then_some(()))
        })?;
        let [from_id, id] = [id(from)?, id(&node)?];
        let slot = slot.to_string();
        node.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        wait::wait_until("the old node knows the new one", LIMIT, || {
            from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id]).is_ok()
        })?;
        Ok(NewNode { cluster: self, from, node, id, slot })
    }
}

impl NewNode<'_> {
    /// Returns the new node.
    pub fn node(&self) -> &Redis {
        &self.node
    }

    /// Moves a key to the new node.
    ///
    /// # Errors
    /// If a node refuses the move.
    pub fn take(&self, key: &str) -> Result<()> {
        let port = self.node.port().to_string();
        self.from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", BATCH_LIMIT]).map(drop)
    }

    /// Makes the new node the owner of the slot.
    pub fn own_slot(&self) {
        for it in [&self.node].into_iter().chain(self.cluster.nodes()) {
            // Replicas refuse the command.
            let _ = it.command(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.id]);
        }
    }
}

fn id(node: &Redis) -> Result<String> {
    Ok(node.command(&["CLUSTER", "MYID"])?.text())
}
