//! Moves of a cluster's slot from one master to another, with the same steps as redis-cli.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Redis, RedisCluster, by_port, cluster::master_port};
use crate::{
    process::Server as _,
    resp::{Connection, Reply},
    wait,
};

/// The number of keys per batch when all keys are moved.
const BATCH: usize = 100;
/// The timeout of a batch in milliseconds. Both servers may be slow.
pub(super) const BATCH_LIMIT: &str = "60000";
const LIMIT: Duration = Duration::from_secs(120);

impl RedisCluster {
    /// Moves a slot with all of its keys to another master, and waits until all active nodes know.
    ///
    /// # Errors
    /// If a node refuses a step or the nodes do not agree in time.
    pub fn move_slot(&self, slot: usize, to: &Redis) -> Result<()> {
        self.begin_move(slot, to)?.finish()
    }

    /// Opens a slot for the move to another master. Until [`Move::finish`] the old master serves
    /// the keys that it still has, and replies `ASK` for other keys.
    ///
    /// # Errors
    /// If a node refuses a step.
    pub fn begin_move(&self, slot: usize, to: &Redis) -> Result<Move<'_>> {
        let from = self.master_of(slot)?;
        let to = by_port(self.nodes(), to.port())?;
        ensure!(from.port() != to.port(), "slot {slot} is at this master already");
        let (mut old, mut new) = (from.connect()?, to.connect()?);
        let [from_id, to_id] = [id(&mut old)?, id(&mut new)?];
        let slot_word = slot.to_string();
        // In this order: otherwise clients would be redirected to a master that does not import the
        // slot yet.
        new.command(&["CLUSTER", "SETSLOT", &slot_word, "IMPORTING", &from_id])?;
        old.command(&["CLUSTER", "SETSLOT", &slot_word, "MIGRATING", &to_id])?;
        Ok(Move { cluster: self, slot, from, to, to_id, old })
    }
}

/// A slot that is open at both masters. Dropping it does not finish the move.
#[derive(Debug)]
#[must_use = "the slot stays open until it is finished"]
pub struct Move<'a> {
    cluster: &'a RedisCluster,
    slot: usize,
    from: &'a Redis,
    to: &'a Redis,
    to_id: String,
    /// The connection to the old master.
    old: Connection,
}

impl<'a> Move<'a> {
    /// Returns the master that has the slot before the move finishes.
    pub fn from(&self) -> &'a Redis {
        self.from
    }

    /// Returns the master that has the slot afterwards.
    pub fn to(&self) -> &'a Redis {
        self.to
    }

    /// Moves at most `most` keys, in no particular order. Returns how many were moved; 0 if no key
    /// is left.
    ///
    /// # Errors
    /// If a master refuses the move.
    pub fn move_keys(&mut self, most: usize) -> Result<usize> {
        let [slot, most] = [self.slot, most].map(|it| it.to_string());
        let keys = self.old.command(&["CLUSTER", "GETKEYSINSLOT", &slot, &most])?;
        let keys: Vec<&[u8]> = keys.list().iter().map(bytes).collect();
        if !keys.is_empty() {
            let port = self.to.port().to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", BATCH_LIMIT];
            if let Some(password) = &self.to.options.password {
                words.extend(["AUTH", password]);
            }
            words.push("KEYS");
            let words: Vec<&[u8]> =
                words.into_iter().map(str::as_bytes).chain(keys.clone()).collect();
            self.old.command_of_bytes(&words)?;
        }
        Ok(keys.len())
    }

    /// Moves the remaining keys, assigns the slot to the new master, and waits until all active
    /// nodes know.
    ///
    /// # Errors
    /// If a node refuses a step or the nodes do not agree in time.
    pub fn finish(mut self) -> Result<()> {
        while self.move_keys(BATCH)? > 0 {}
        let slot = self.slot.to_string();
        let give = ["CLUSTER", "SETSLOT", &slot, "NODE", &self.to_id];
        // The new master first: it must own the slot before clients are redirected to it.
        self.to.command(&give)?;
        self.old.command(&give)?;
        for node in self.cluster.active() {
            // Replicas refuse the command; they learn the assignment from their masters.
            if node.command(&["ROLE"])?.list().first().is_some_and(|it| it.text() == "master") {
                node.command(&give)?;
            }
        }
        wait::wait_until("all nodes know the owner of the slot", LIMIT, || {
            let mut active = self.cluster.active();
            // A node that does not know the new master's epoch would still believe the old master.
            let newest = epoch(self.to, &self.to_id);
            active.all(|it| {
                let port = master_port(it, self.slot);
                port.is_ok_and(|it| it == Some(self.to.port())) && epoch(it, &self.to_id) == newest
            })
        })
    }
}

fn id(connection: &mut Connection) -> Result<String> {
    Ok(connection.command(&["CLUSTER", "MYID"])?.text())
}

/// Returns the configuration epoch of the node `id` according to this node.
fn epoch(node: &Redis, id: &str) -> Option<String> {
    let known = node.command(&["CLUSTER", "NODES"]).ok()?.text();
    // `<id> <address> <flags> <master> <ping> <pong> <epoch> …`
    let line = known.lines().find(|it| it.starts_with(id))?;
    line.split(' ').nth(6).map(Into::into)
}

fn bytes(reply: &Reply) -> &[u8] {
    if let Reply::Bytes(it) = reply { it } else { &[] }
}
