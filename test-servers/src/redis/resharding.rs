//! Redis: a slot of a cluster on its way from one master to another, the way redis-cli does it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Redis, RedisCluster, by_port, cluster::master_port};
use crate::{
    process::Server as _,
    resp::{Connection, Reply},
    wait,
};

/// How many keys go at once when all of them do.
const BATCH: usize = 100;
/// What one batch may take, in milliseconds.
const BATCH_LIMIT: &str = "5000";
const LIMIT: Duration = Duration::from_secs(30);

impl RedisCluster {
    /// Moves a slot with all of its keys to another master, and waits until all nodes that run know it.
    pub fn move_slot(&self, slot: usize, to: &Redis) -> Result<()> {
        self.begin_move(slot, to)?.finish()
    }

    /// Opens a slot for moving it to another master. Until [`Move::finish`] the old master serves the keys that are
    /// still there, and for others answers `ASK`.
    pub fn begin_move(&self, slot: usize, to: &Redis) -> Result<Move<'_>> {
        let from = self.master_of(slot)?;
        let to = by_port(self.nodes(), to.port())?;
        ensure!(from.port() != to.port(), "slot {slot} is there already");
        let (mut old, mut new) = (from.connect()?, to.connect()?);
        let [from_id, to_id] = [id(&mut old)?, id(&mut new)?];
        let slot_word = slot.to_string();
        // In this order: a slot that nobody imports yet would be asked for in vain.
        new.command(&["CLUSTER", "SETSLOT", &slot_word, "IMPORTING", &from_id])?;
        old.command(&["CLUSTER", "SETSLOT", &slot_word, "MIGRATING", &to_id])?;
        Ok(Move { cluster: self, slot, from, to, to_id, old })
    }
}

/// A slot that is open at both masters. If it is only dropped, it stays so.
#[derive(Debug)]
#[must_use = "the slot stays open until it is finished"]
pub struct Move<'a> {
    cluster: &'a RedisCluster,
    slot: usize,
    from: &'a Redis,
    to: &'a Redis,
    to_id: String,
    /// To the old master.
    old: Connection,
}

impl<'a> Move<'a> {
    /// The master that has the slot until it is finished.
    pub fn from(&self) -> &'a Redis {
        self.from
    }

    /// The master that has it afterwards.
    pub fn to(&self) -> &'a Redis {
        self.to
    }

    /// Moves at most so many of its keys, whichever they are; how many that were. 0 is the end.
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

    /// Moves the keys that are left, gives the slot to its new master, and waits until all nodes that run know it.
    pub fn finish(mut self) -> Result<()> {
        while self.move_keys(BATCH)? > 0 {}
        let slot = self.slot.to_string();
        let give = ["CLUSTER", "SETSLOT", &slot, "NODE", &self.to_id];
        // The new one first: it must not be asked for a slot that it does not know to be its own.
        self.to.command(&give)?;
        self.old.command(&give)?;
        for node in self.cluster.nodes().iter().filter(|it| it.is_running()) {
            // Replicas are told by their masters, and refuse to be told by us.
            if node.command(&["ROLE"])?.list().first().is_some_and(|it| it.text() == "master") {
                node.command(&give)?;
            }
        }
        wait::wait_until("all nodes know who has the slot", LIMIT, || {
            let mut running = self.cluster.nodes().iter().filter(|it| it.is_running());
            // Who has not heard that the new master's word is newer would still believe the old one.
            let newest = epoch(self.to, &self.to_id);
            running.all(|it| {
                let port = master_port(it, self.slot);
                port.is_ok_and(|it| it == Some(self.to.port())) && epoch(it, &self.to_id) == newest
            })
        })
    }
}

fn id(connection: &mut Connection) -> Result<String> {
    Ok(connection.command(&["CLUSTER", "MYID"])?.text())
}

/// How new the word of the node `id` is, as far as this one has heard.
fn epoch(node: &Redis, id: &str) -> Option<String> {
    let known = node.command(&["CLUSTER", "NODES"]).ok()?.text();
    // `<id> <address> <flags> <master> <ping> <pong> <epoch> …`
    let line = known.lines().find(|it| it.starts_with(id))?;
    line.split(' ').nth(6).map(Into::into)
}

fn bytes(reply: &Reply) -> &[u8] {
    if let Reply::Bytes(it) = reply { it } else { &[] }
}
