//! Redis: a leader with replicas.

use std::time::Duration;

use anyhow::Result;

use super::{Redis, RedisOptions, lag::Lag};
use crate::{process::Server as _, resp, wait};

/// Far more than a replica needs to copy an empty leader.
const LIMIT: Duration = Duration::from_secs(30);

/// A leader and its replicas, each with a copy of it.
#[derive(Debug)]
pub struct RedisReplicas {
    // Dropped first: a replica whose leader goes would look for it.
    replicas: Vec<Redis>,
    leader: Redis,
    lag: Lag,
}

impl RedisReplicas {
    /// A leader and this many replicas, all up to date.
    pub fn start(replicas: usize) -> Result<Self> {
        Self::start_with(replicas, &Redis::options())
    }

    /// The same with options, which are for each of them.
    pub fn start_with(replicas: usize, options: &RedisOptions) -> Result<Self> {
        // It would wait five seconds for more replicas to come.
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

    /// The one that takes writes.
    pub fn leader(&self) -> &Redis {
        &self.leader
    }

    /// Those that follow it.
    pub fn replicas(&self) -> &[Redis] {
        &self.replicas
    }

    /// Waits until each replica that runs has what the leader has had so far. It is cheap enough for each write of a test.
    pub fn wait_for_replicas(&self) -> Result<()> {
        let nodes: Vec<&Redis> = std::iter::once(&self.leader).chain(&self.replicas).collect();
        self.lag.wait(&nodes)
    }

    /// All of them, the leader first.
    pub(super) fn into_nodes(self) -> Vec<Redis> {
        let mut res = vec![self.leader];
        res.extend(self.replicas);
        res
    }
}

/// Waits until the replica has its leader's data. One without is never promoted.
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
