//! Redis: a cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Redis, RedisOptions, by_port, lag::Lag, replicas::wait_for_link, slot::SLOTS};
use crate::{
    process::Server as _,
    resp::{self, Reply},
    wait,
};

/// After how long a node counts as gone. Shorter, and a busy machine loses nodes that are only slow.
const NODE_TIMEOUT: &str = "2000";
const PATIENT_TIMEOUT: &str = "60000";
const LIMIT: Duration = Duration::from_secs(60);

/// Masters that share the slots evenly, and replicas that take a master's place when it dies.
///
/// It takes two seconds to start, which a master waits before it serves: tests share one in a `static`.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    lag: Lag,
}

impl RedisCluster {
    /// This many masters, and this many replicas in all, which are dealt out to the masters in turn.
    pub fn start(masters: usize, replicas: usize) -> Result<Self> {
        Self::start_with(masters, replicas, &Redis::options())
    }

    /// The same with options, which are for each node.
    pub fn start_with(masters: usize, replicas: usize, options: &RedisOptions) -> Result<Self> {
        ensure!(masters > 0, "a cluster has at least one master");
        let options = options
            .clone()
            .args(&["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT])
            // It would wait five seconds for more replicas to come.
            .args(&["--repl-diskless-sync-delay", "0"]);
        let nodes = (0..masters + replicas).map(|_| options.clone().start());
        let res = Self { nodes: nodes.collect::<Result<_>>()?, lag: Lag::default() };
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

    /// Has nodes that are only slow, as on a busy machine, taken for nothing else: no replica takes a master's place, which would lose
    /// what was written last. For tests that kill no node.
    pub fn patient(self) -> Result<Self> {
        for it in &self.nodes {
            it.command(&["CONFIG", "SET", "cluster-node-timeout", PATIENT_TIMEOUT])?;
        }
        // One that was slow until now may be missed already.
        let is_missed = |line: &str| line.split(' ').nth(2).is_some_and(|it| it.contains("fail"));
        let misses_nobody = |it: &Redis| {
            let nodes = it.command(&["CLUSTER", "NODES"]).map(|it| it.text()).unwrap_or_default();
            !nodes.is_empty() && !nodes.lines().any(is_missed)
        };
        let is_whole = || self.nodes.iter().all(misses_nobody);
        wait::wait_until("no node of the cluster is missed", LIMIT, is_whole)?;
        self.wait_until_served()?;
        Ok(self)
    }

    /// All nodes, those that began as masters first.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The node that serves this slot, as those that run see it.
    pub fn master_of(&self, slot: usize) -> Result<&Redis> {
        ensure!(slot < SLOTS, "there is no slot {slot}");
        let running = self.nodes.iter().filter(|it| it.is_running());
        let port = running.map(|it| master_port(it, slot)).find_map(Result::ok);
        let port = port.context("no node of the cluster answers")?;
        by_port(&self.nodes, port.with_context(|| format!("nobody serves slot {slot}"))?)
    }

    /// Waits until each replica that runs has what its master has had so far. It is cheap enough for each write of a test.
    pub fn wait_for_replicas(&self) -> Result<()> {
        self.lag.wait(&self.nodes.iter().collect::<Vec<_>>())
    }

    /// Waits until a node other than this one serves the slot and all who run say that the cluster works.
    pub fn wait_for_other_master(&self, slot: usize, old: &Redis) -> Result<&Redis> {
        wait::poll("a replica is promoted", LIMIT, || {
            Ok(self.master_of(slot).ok().filter(|it| it.port() != old.port()))
        })?;
        self.wait_until_served()?;
        self.master_of(slot)
    }

    /// Waits until all nodes that run say that all slots are served.
    pub fn wait_until_served(&self) -> Result<()> {
        let is_served = |it: &Redis| {
            let info = it.command(&["CLUSTER", "INFO"]).map(|it| it.text()).unwrap_or_default();
            resp::field(&info, "cluster_state") == Some("ok")
                && resp::field(&info, "cluster_slots_ok") == Some(&SLOTS.to_string())
        };
        wait::wait_until("the cluster serves all slots", LIMIT, || {
            self.nodes.iter().filter(|it| it.is_running()).all(is_served)
        })
    }

    /// Makes each node known to each other, without waiting for gossip to spread.
    fn introduce(&self) -> Result<()> {
        for (i, node) in self.nodes.iter().enumerate() {
            meet(node, &self.nodes[i + 1..])?;
        }
        wait::poll("all nodes of the cluster know each other", LIMIT, || {
            if self.nodes.iter().all(|it| knows(it, self.nodes.len())) {
                return Ok(Some(()));
            }
            // Those that a busy machine was too slow for have forgotten that they were to meet.
            self.nodes.iter().try_for_each(|it| meet(it, &self.nodes))?;
            Ok(None)
        })
    }
}

/// Has a node meet those of these that it has not heard of.
fn meet(node: &Redis, others: &[Redis]) -> Result<()> {
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
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(slots.iter().map(String::as_str));
        connection.command(&words)?;
        // All different, or they would have to settle first whose word counts.
        connection.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()])?;
    }
    Ok(())
}

/// The port of the slot's master, as this node sees it; none if nobody serves it.
pub(super) fn master_port(node: &Redis, slot: usize) -> Result<Option<u16>> {
    // [[first, last, [host, port, id], [host, port, id]…]…], the master before its replicas.
    let slots = node.command(&["CLUSTER", "SLOTS"])?;
    let range = slots.list().iter().find(|it| {
        let [Reply::Int(first), Reply::Int(last), ..] = it.list() else { return false };
        i64::try_from(slot).is_ok_and(|it| (*first..=*last).contains(&it))
    });
    Ok(range.and_then(|it| it.list().get(2)?.list().get(1)?.text().parse().ok()))
}

/// Whether the node is done with meeting this many nodes, itself among them.
fn knows(node: &Redis, nodes: usize) -> bool {
    let known = node.command(&["CLUSTER", "NODES"]).map(|it| it.text()).unwrap_or_default();
    known.lines().count() == nodes
        && !known.contains("handshake")
        && !known.contains("disconnected")
}

/// How many replicas the node has heard of.
fn replicas_known_to(node: &Redis) -> Option<usize> {
    let known = node.command(&["CLUSTER", "NODES"]).ok()?.text();
    Some(known.lines().filter(|it| it.contains("slave")).count())
}
