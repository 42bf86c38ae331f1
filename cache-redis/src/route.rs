//! From keys to the servers that hold them, and after them when they have moved.

use std::{sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result};
use cache_net::within;
use redis::{ServerErrorKind, Value};

use crate::{
    address::Address,
    command::Commands,
    discovery::{self, Discovery},
    error,
    node::Node,
    options::ReadFrom,
    pool::Pool,
    slot,
    topology::Topology,
};

/// Who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadTarget {
    /// The one that takes the writes.
    Leader,
    /// A copy, if the settings say so: it may be behind.
    Any,
}

/// How often a call follows a key: a Cluster that answers more often in this way is not in order.
const HOPS: usize = 5;
/// How long keys may need to arrive, or a Cluster to find a leader.
const PAUSE: Duration = Duration::from_millis(20);

/// What a server says of a key that it does not serve. It has done nothing then.
pub(crate) enum Redirect {
    Moved(Address),
    /// It is on its way there.
    Ask(Address),
    TryAgain,
    /// The server takes no writes any more.
    Demoted,
}

impl Pool {
    /// Asks about one key.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        key: &str,
        target: ReadTarget,
        commands: &Commands,
    ) -> Result<Value> {
        match self.execute_or_noscript(key, target, commands).await? {
            Value::ServerError(it) => Err(error::from_reply(&it)),
            answer => Ok(answer),
        }
    }

    /// Asks about one key. The answer may be that the server does not know the script.
    pub(crate) async fn execute_or_noscript(
        self: &Arc<Self>,
        key: &str,
        target: ReadTarget,
        commands: &Commands,
    ) -> Result<Value> {
        let topology = self.topology().await?;
        let slot = topology.slot(key);
        if target == ReadTarget::Any
            && self.common.read_from == ReadFrom::Replica
            && let Some(value) =
                Box::pin(self.execute_on_replica(&topology, slot, key, commands)).await
        {
            return Ok(value);
        }
        // If nobody does, that is a doubt: somebody may serve it by now.
        let node = leader(&topology, slot).map_err(|it| self.note_failure(it))?;
        let answer = match node.execute(key, commands).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.note_failure(error)),
        };
        match self.redirect_in(&answer, node) {
            None => checked(answer, node),
            Some(redirect) => {
                Box::pin(self.follow_within_deadline(redirect, answer, key, commands)).await
            }
        }
    }

    /// What a replica answers, if it can. One that cannot may be none any more.
    async fn execute_on_replica(
        &self,
        topology: &Topology,
        slot: u16,
        key: &str,
        commands: &Commands,
    ) -> Option<Value> {
        let replica = topology.shard(slot)?.1.replica()?;
        let answer =
            replica.execute(key, commands).await.map_err(|it| self.note_failure(it)).ok()?;
        (!matches!(answer, Value::ServerError(_))).then_some(answer)
    }

    /// Goes where a key is said to be, for no longer than a call with one more connection may take.
    async fn follow_within_deadline(
        self: &Arc<Self>,
        redirect: Redirect,
        answer: Value,
        key: &str,
        commands: &Commands,
    ) -> Result<Value> {
        let connector = &self.common.connector;
        let time = self.common.deadline + connector.time;
        let found =
            within(&connector.clock, time, self.follow(redirect, answer, key, commands)).await;
        found.unwrap_or_else(|| {
            let what = format!("the key was not found among the servers within {time:?}; a write may have had its effect");
            Err(Error::new(ErrorKind::TimedOut, what))
        })
    }

    /// Goes where a key is said to be, and on from there.
    async fn follow(
        self: &Arc<Self>,
        mut redirect: Redirect,
        mut answer: Value,
        key: &str,
        commands: &Commands,
    ) -> Result<Value> {
        for hop in 1..=HOPS {
            let (node, is_arriving) = self.redirect_target(redirect, key, hop).await?;
            let res = if is_arriving {
                node.execute_asking(key, commands).await
            } else {
                node.execute(key, commands).await
            };
            answer = res.map_err(|it| self.note_failure(it))?;
            match self.redirect_in(&answer, &node) {
                None => return checked(answer, &node),
                Some(next) => redirect = next,
            }
        }
        match &answer {
            Value::ServerError(it) if matches!(it.code(), "MOVED" | "ASK") => Err(Error::new(
                ErrorKind::Unavailable,
                "the servers of the cluster send each other's keys in a circle; it is being rebuilt",
            )),
            _ => Ok(answer),
        }
    }

    /// The server at that place, and whether the key is on its way there still.
    async fn redirect_target(
        self: &Arc<Self>,
        redirect: Redirect,
        key: &str,
        hop: usize,
    ) -> Result<(Arc<Node>, bool)> {
        match redirect {
            Redirect::Moved(address) => {
                let node = self.node(&address);
                self.moved(slot::slot(key), &node);
                return Ok((node, false));
            }
            Redirect::Ask(address) => return Ok((self.node(&address), true)),
            Redirect::TryAgain => {
                self.refresh_in_background();
                let pause = PAUSE * u32::try_from(hop).unwrap_or(1);
                self.common.connector.clock.sleep(pause).await;
            }
            Redirect::Demoted => {
                // It may take a moment until all Sentinels have heard of it.
                if hop > 1 {
                    self.common.connector.clock.sleep(PAUSE).await;
                }
                self.refresh().await?;
            }
        }
        let topology = self.topology().await?;
        Ok((Arc::clone(leader(&topology, topology.slot(key))?), false))
    }

    /// Where a key is instead, if that is the answer. Only of a group can it be; a single server that takes no writes any more is
    /// connected to anew.
    pub(crate) fn redirect_in(&self, answer: &Value, asked: &Node) -> Option<Redirect> {
        let Value::ServerError(error) = answer else { return None };
        let address = || {
            let redirect = error.details()?.split_ascii_whitespace().nth(1)?;
            discovery::parse_redirect(redirect, &asked.address)
        };
        match (&self.common.discovery, error.kind()?) {
            // By now its name may lead to another, which takes them: managed services move it at a failover.
            (Discovery::Fixed(_), ServerErrorKind::ReadOnly) => {
                asked.reconnect();
                None
            }
            (Discovery::Sentinels(_), ServerErrorKind::ReadOnly) => Some(Redirect::Demoted),
            (Discovery::Cluster(_), ServerErrorKind::Moved) => address().map(Redirect::Moved),
            (Discovery::Cluster(_), ServerErrorKind::Ask) => address().map(Redirect::Ask),
            (Discovery::Cluster(_), ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => {
                Some(Redirect::TryAgain)
            }
            _ => None,
        }
    }

    /// Hands on an error, after noting that the map may be old if it is of that sort.
    pub(crate) fn note_failure(&self, error: Error) -> Error {
        self.mark_stale(&error);
        error
    }

    /// One slot is known at once; with it others may have moved.
    fn moved(self: &Arc<Self>, slot: u16, to: &Node) {
        if let Some(topology) = self.known_topology() {
            topology.moved(slot, to);
        }
        self.refresh_in_background();
    }
}

/// The answer, unless it is an error of the server's that nothing can be done about.
pub(crate) fn checked(answer: Value, node: &Node) -> Result<Value> {
    match answer {
        Value::ServerError(it) if it.kind() != Some(ServerErrorKind::NoScript) => {
            Err(error::at(error::from_reply(&it), &node.address))
        }
        answer => Ok(answer),
    }
}

/// Who takes the writes of a slot.
pub(crate) fn leader(topology: &Topology, slot: u16) -> Result<&Arc<Node>> {
    match topology.shard(slot) {
        Some((_, shard)) => Ok(&shard.leader),
        None => Err(Error::new(
            ErrorKind::Unavailable,
            format!("nobody serves slot {slot} of the cluster"),
        )),
    }
}
