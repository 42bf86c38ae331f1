//! Redis Cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Redis, RedisOptions, by_port, lag::Lag, replicas::wait_for_link, slot::SLOTS};
use crate::{
    process::Server as _,
    resp::{self, Reply},
    wait,
};

/// After this time without a reply a node counts as failed. With a shorter time, slow nodes of a
/// busy machine would count as failed.
const NODE_TIMEOUT: &str = "2000";
const PATIENT_TIMEOUT: &str = "60000";
const LIMIT: Duration = Duration::from_secs(120);

/// Masters that share the slots evenly, and replicas that replace a master that fails.
///
/// The start takes two seconds, which a master waits before it serves. Tests should share a cluster
/// in a `static`.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    is_patient: bool,
    lag: Lag,
}

impl RedisCluster {
    /// Starts this many masters and this many replicas in total, which are distributed evenly.
    ///
    /// # Errors
    /// If a node does not start or the cluster does not form.
    pub fn start(masters: usize, replicas: usize) -> Result<Self> {
        Self::start_with(masters, replicas, &Redis::options())
    }

    /// Like [`start`](Self::start), with options for each node.
    ///
    /// # Errors
    /// If a node does not start or the cluster does not form.
    pub fn start_with(masters: usize, replicas: usize, options: &RedisOptions) -> Result<Self> {
        ensure!(masters > 0, "a cluster has at least one master");
        // Without replicas, a slow node that counts as failed has no successor.
        let timeout = if replicas == 0 { PATIENT_TIMEOUT } else { NODE_TIMEOUT };
        let options = options
            .clone()
            .args(&["--cluster-enabled", "yes", "--cluster-node-timeout", timeout])
            // By default, a leader waits five seconds for further replicas.
            .args(&["--repl-diskless-sync-delay", "0"]);
        let nodes = (0..masters + replicas).map(|_| options.clone().start());
        let nodes = nodes.collect::<Result<_>>()?;
        let res = Self { nodes, is_patient: false, lag: Lag::default() };
        let (leading, following) = res.nodes.split_at(masters);
        share_slots(leading)?;
        res.introduce()?;
        for (i, replica) in following.iter().enumerate() {
            let master = leading[i % masters].command(&["CLUSTER", "MYID"])?.text();
            replica.command(&["CLUSTER", "REPLICATE", &master])?;
        }
        for replica in following {
            wait_for_link(replica)?;
        }
        res.wait_until_served()?;
        let know_replicas = || res.nodes.iter().all(|it| replicas_known_to(it) == Some(replicas));
        wait::wait_until("all nodes know the replicas", LIMIT, know_replicas)?;
        Ok(res)
    }

    /// Raises the node timeout, so that slow nodes of a busy machine do not count as failed: a
    /// promotion would lose the last writes. A node that is killed or frozen counts as failed only
    /// in [`wait_for_other_master`](Self::wait_for_other_master), or after
    /// [`expect_failures`](Self::expect_failures).
    ///
    /// # Errors
    /// If a node cannot be configured or the cluster does not recover.
    pub fn patient(mut self) -> Result<Self> {
        self.is_patient = true;
        self.expect_failures(false)?;
        // A node that was slow before may count as failed already.
        let is_failed = |line: &str| line.split(' ').nth(2).is_some_and(|it| it.contains("fail"));
        let sees_no_failure = |it: &Redis| {
            let nodes = it.command(&["CLUSTER", "NODES"]).map(|it| it.text()).unwrap_or_default();
            !nodes.is_empty() && !nodes.lines().any(is_failed)
        };
        let is_whole = || self.nodes.iter().all(sees_no_failure);
        wait::wait_until("no node of the cluster counts as failed", LIMIT, is_whole)?;
        self.wait_until_served()?;
        Ok(self)
    }

    /// Lowers the node timeout of all active nodes, so that they notice a node that does not reply,
    /// or raises it again.
    ///
    /// # Errors
    /// If a node cannot be configured.
    pub fn expect_failures(&self, are_expected: bool) -> Result<()> {
        let timeout = if are_expected { NODE_TIMEOUT } else { PATIENT_TIMEOUT };
        for it in self.active() {
            it.command(&["CONFIG", "SET", "cluster-node-timeout", timeout])?;
        }
        Ok(())
    }

    /// Returns the nodes that run and are not frozen.
    pub(super) fn active(&self) -> impl Iterator<Item = &Redis> {
        self.nodes.iter().filter(|it| it.process().is_active())
    }

    /// Returns all nodes; the initial masters come first.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Returns the URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Returns the node that serves this slot according to the active nodes.
    ///
    /// # Errors
    /// If no node replies or no node serves the slot.
    pub fn master_of(&self, slot: usize) -> Result<&Redis> {
        ensure!(slot < SLOTS, "there is no slot {slot}");
        let port = self.active().map(|it| master_port(it, slot)).find_map(Result::ok);
        let port = port.context("no node of the cluster replies")?;
        by_port(&self.nodes, port.with_context(|| format!("no node serves slot {slot}"))?)
    }

    /// Waits until each running replica has all writes that its master has received so far. Cheap
    /// enough to be called after each write of a test.
    ///
    /// # Errors
    /// If a replica does not catch up in time.
    pub fn wait_for_replicas(&self) -> Result<()> {
        self.lag.wait(&self.nodes.iter().collect::<Vec<_>>())
    }

    /// Waits until another node than this one serves the slot and the cluster serves all slots.
    ///
    /// # Errors
    /// If no replica is promoted in time.
    pub fn wait_for_other_master(&self, slot: usize, old: &Redis) -> Result<&Redis> {
        let is_lost = self.is_patient && !old.process().is_active();
        if is_lost {
            self.expect_failures(true)?;
        }
        wait::poll("a replica is promoted", LIMIT, || {
            Ok(self.master_of(slot).ok().filter(|it| it.port() != old.port()))
        })?;
        self.wait_until_served()?;
        if is_lost {
            self.expect_failures(false)?;
        }
        self.master_of(slot)
    }

    /// Waits until all active nodes report that all slots are served.
    ///
    /// # Errors
    /// If this takes too long.
    pub fn wait_until_served(&self) -> Result<()> {
        let is_served = |it: &Redis| {
            let info = it.command(&["CLUSTER", "INFO"]).map(|it| it.text()).unwrap_or_default();
            resp::field(&info, "cluster_state") == Some("ok")
                && resp::field(&info, "cluster_slots_ok") == Some(&SLOTS.to_string())
        };
        wait::wait_until("the cluster serves all slots", LIMIT, || self.active().all(is_served))
    }

    /// Makes all nodes known to each other without waiting for gossip.
    fn introduce(&self) -> Result<()> {
        for (i, node) in self.nodes.iter().enumerate() {
            meet(node, &self.nodes[i + 1..])?;
        }
        wait::poll("all nodes of the cluster know each other", LIMIT, || {
            if self.nodes.iter().all(|it| knows(it, self.nodes.len())) {
                return Ok(Some(()));
            }
            // On a busy machine a node may drop a handshake that took too long.
            self.nodes.iter().try_for_each(|it| meet(it, &self.nodes))?;
            Ok(None)
        })
    }
}

/// Makes a node meet the other nodes that it does not know.
pub(super) fn meet(node: &Redis, others: &[Redis]) -> Result<()> {
    let mut connection = node.connect()?;
    let known = connection.command(&["CLUSTER", "NODES"])?.text();
    for other in others {
        let port = other.port().to_string();
        if !known.contains(&format!(":{port}@")) && other.port() != node.port() {
            connection.command(&["CLUSTER", "MEET", "127.0.0.1", &port])?;
        }
    }
    Ok(())
}

fn share_slots(masters: &[Redis]) -> Result<()> {
    let count = masters.len();
    for (i, master) in masters.iter().enumerate() {
        let mut connection = master.connect()?;
        let slots: Vec<String> =
            (SLOTS * i / count..SLOTS * (i + 1) / count).map(|it| it.to_string()).collect();
        let mut args = vec!["CLUSTER", "ADDSLOTS"];
        args.extend(slots.iter().map(String::as_str));
        connection.command(&args)?;
        // Distinct epochs; otherwise the nodes would first have to resolve the conflict.
        connection.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()])?;
    }
    Ok(())
}

/// Returns the port of the slot's master according to this node; `None` if no node serves the slot.
pub(super) fn master_port(node: &Redis, slot: usize) -> Result<Option<u16>> {
    // [[first, last, [host, port, id], [host, port, id]…]…], the master before its replicas.
    let slots = node.command(&["CLUSTER", "SLOTS"])?;
    let range = slots.list().iter().find(|it| {
        let [Reply::Int(first), Reply::Int(last), ..] = it.list() else { return false };
        i64::try_from(slot).is_ok_and(|it| (*first..=*last).contains(&it))
    });
    Ok(range.and_then(|it| it.list().get(2)?.list().get(1)?.text().parse().ok()))
}

/// Returns whether the node knows this many nodes, including itself, and has finished all
/// handshakes.
fn knows(node: &Redis, nodes: usize) -> bool {
    let known = node.command(&["CLUSTER", "NODES"]).map(|it| it.text()).unwrap_or_default();
    known.lines().count() == nodes
        && !known.contains("handshake")
        && !known.contains("disconnected")
}

/// Returns how many replicas the node knows.
fn replicas_known_to(node: &Redis) -> Option<usize> {
    let known = node.command(&["CLUSTER", "NODES"]).ok()?.text();
    Some(known.lines().filter(|it| it.contains("slave")).count())
}
