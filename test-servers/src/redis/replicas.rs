//! A Redis leader with replicas.

use std::time::Duration;

use anyhow::Result;

use super::{Redis, RedisOptions, lag::Lag};
use crate::{process::Server as _, resp, wait};

/// Much longer than a replica needs to copy an empty leader.
const LIMIT: Duration = Duration::from_secs(120);

/// A leader and its replicas.
#[derive(Debug)]
pub struct RedisReplicas {
    // Dropped first: a replica without its leader would try to reconnect.
    replicas: Vec<Redis>,
    leader: Redis,
    lag: Lag,
}

impl RedisReplicas {
    /// Starts a leader and this many replicas. All are in sync.
    ///
    /// # Errors
    /// If a server does not start or a replica does not connect to the leader.
    pub fn start(replicas: usize) -> Result<Self> {
        Self::start_with(replicas, &Redis::options())
    }

    /// Like [`start`](Self::start), with options for each server.
    ///
    /// # Errors
    /// If a server does not start or a replica does not connect to the leader.
    pub fn start_with(replicas: usize, options: &RedisOptions) -> Result<Self> {
        // By default, a leader waits five seconds for further replicas.
        let options = options.clone().args(&["--repl-diskless-sync-delay", "0"]);
        let leader = options.clone().start()?;
        let of_leader = ["--replicaof", "127.0.0.1", &leader.port().to_string()];
        let replica = || options.clone().args(&of_leader).start();
        let replicas = (0..replicas).map(|_| replica()).collect::<Result<Vec<_>>>()?;
        for it in &replicas {
            wait_for_link(it)?;
        }
        Ok(Self { replicas, leader, lag: Lag::default() })
    }

    /// Returns the leader.
    pub fn leader(&self) -> &Redis {
        &self.leader
    }

    /// Returns the replicas.
    pub fn replicas(&self) -> &[Redis] {
        &self.replicas
    }

    /// Waits until each running replica has all writes that the leader has received so far. Cheap
    /// enough to be called after each write of a test.
    ///
    /// # Errors
    /// If a replica does not catch up in time.
    pub fn wait_for_replicas(&self) -> Result<()> {
        let nodes: Vec<&Redis> = std::iter::once(&self.leader).chain(&self.replicas).collect();
        self.lag.wait(&nodes)
    }

    /// Returns all servers, the leader first.
    pub(super) fn into_nodes(self) -> Vec<Redis> {
        let mut res = vec![self.leader];
        res.extend(self.replicas);
        res
    }
}

/// Waits until the replica has its leader's data. A replica without the data is never promoted.
pub(super) fn wait_for_link(replica: &Redis) -> Result<()> {
    wait_for_link_if(replica, |_| true)
}

/// Waits until the replica has the data of this leader.
pub(super) fn wait_for_link_to(replica: &Redis, leader: &Redis) -> Result<()> {
    let port = leader.port().to_string();
    wait_for_link_if(replica, |info| resp::field(info, "master_port") == Some(&port))
}

fn wait_for_link_if(replica: &Redis, is_right: impl Fn(&str) -> bool) -> Result<()> {
    let what = format!("the replica on port {} has its leader's data", replica.port());
    wait::wait_until(&what, LIMIT, || {
        let info = replica.command(&["INFO", "replication"]).map(|it| it.text());
        info.is_ok_and(|it| resp::field(&it, "master_link_status") == Some("up") && is_right(&it))
    })
}
