//! Routes commands to the server of their key, and follows redirects.

use std::{sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result};
use cache_net::within;

use crate::{
    address::Address,
    discovery::{self, Discovery},
    encoder::Commands,
    error,
    node::Node,
    options::ReadFrom,
    pool::Pool,
    resp::Reply,
    slot,
    topology::Topology,
};

/// The servers that may answer a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadTarget {
    /// The server that accepts writes.
    Leader,
    /// A replica if `read_from` allows it, otherwise the leader. A replica may be behind.
    Any,
}

/// How many redirects a call follows. A Cluster that sends more is not consistent.
const HOPS: usize = 5;
/// The first pause while keys migrate or a Cluster elects a leader. Each pause is longer than the
/// pause before.
const PAUSE: Duration = Duration::from_millis(20);

/// An error reply that names another server, or asks to try again. The server has not executed the
/// command.
pub(crate) enum Redirect {
    Moved(Address),
    /// The key is migrating to this server.
    Ask(Address),
    TryAgain,
    /// The server does not accept writes any more.
    Demoted,
}

impl Pool {
    /// Executes commands about one key. The result may be an error reply, such as `NOSCRIPT`.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        key: &str,
        target: ReadTarget,
        commands: &Commands<'_>,
    ) -> Result<Reply> {
        let topology = self.topology().await?;
        let slot = topology.slot(key);
        if target == ReadTarget::Any
            && self.common.read_from == ReadFrom::Replica
            && let Some(value) =
                Box::pin(self.execute_on_replica(&topology, slot, key, commands)).await
        {
            return Ok(value);
        }
        // If no server serves the slot, the topology is stale.
        let node = leader(&topology, slot).map_err(|it| self.note_failure(it))?;
        let answer = match node.execute(key, commands).await {
            Ok(answer) => answer,
            Err(error) if error::is_demoted(&error) => {
                let following =
                    self.follow_within_deadline(Redirect::Demoted, Reply::Nil, key, commands);
                return Box::pin(following).await;
            }
            Err(error) => return Err(self.note_failure(error)),
        };
        match self.redirect_in(&answer, node) {
            None => checked(answer, node),
            Some(redirect) => {
                Box::pin(self.follow_within_deadline(redirect, answer, key, commands)).await
            }
        }
    }

    /// Returns the reply of a replica. Returns `None` if the replica did not answer or sent an
    /// error, because it may not be a replica any more.
    async fn execute_on_replica(
        &self,
        topology: &Topology,
        slot: u16,
        key: &str,
        commands: &Commands<'_>,
    ) -> Option<Reply> {
        let replica = topology.shard(slot)?.1.replica()?;
        let answer =
            replica.execute(key, commands).await.map_err(|it| self.note_failure(it)).ok()?;
        (!matches!(answer, Reply::Error(_))).then_some(answer)
    }

    /// Follows a redirect, within the longest time of a call that has to connect first.
    async fn follow_within_deadline(
        self: &Arc<Self>,
        redirect: Redirect,
        answer: Reply,
        key: &str,
        commands: &Commands<'_>,
    ) -> Result<Reply> {
        let time = self.common.nodes.longest_call();
        let found = within(self.clock(), time, self.follow(redirect, answer, key, commands)).await;
        found.unwrap_or_else(|| {
            let what = format!(
                "no server answered for the key within {time:?}; a write may have had its effect"
            );
            Err(Error::new(ErrorKind::TimedOut, what))
        })
    }

    /// Follows a redirect and the redirects after it.
    async fn follow(
        self: &Arc<Self>,
        mut redirect: Redirect,
        mut answer: Reply,
        key: &str,
        commands: &Commands<'_>,
    ) -> Result<Reply> {
        for hop in 1..=HOPS {
            let (node, is_arriving) = self.redirect_target(redirect, key, hop).await?;
            let commands = if is_arriving { commands.asking() } else { *commands };
            let res = node.execute(key, &commands).await;
            answer = res.map_err(|it| self.note_failure(it))?;
            match self.redirect_in(&answer, &node) {
                None => return checked(answer, &node),
                Some(next) => redirect = next,
            }
        }
        match &answer {
            Reply::Error(it) if matches!(it.code(), "MOVED" | "ASK") => Err(Error::new(
                ErrorKind::Unavailable,
                "redirect loop: the servers of the cluster redirect the key to each other",
            )),
            _ => Ok(answer),
        }
    }

    /// Returns the server to which a redirect leads, and whether the key is still migrating to it.
    async fn redirect_target(
        self: &Arc<Self>,
        redirect: Redirect,
        key: &str,
        hop: usize,
    ) -> Result<(Arc<Node>, bool)> {
        match redirect {
            Redirect::Moved(address) => {
                self.common.include(&address);
                let node = self.nodes.leader(&address);
                self.moved(slot::slot(key), &node);
                return Ok((node, false));
            }
            Redirect::Ask(address) => {
                // Before the command: a server that imports its first slot is in no topology.
                self.common.include(&address);
                return Ok((self.nodes.leader(&address), true));
            }
            Redirect::TryAgain => {
                self.refresh_in_background();
                let pause = PAUSE * u32::try_from(hop).unwrap_or(1);
                self.clock().sleep(pause).await;
            }
            Redirect::Demoted => {
                // The other Sentinels may need a moment to learn of the failover.
                if hop > 1 {
                    self.clock().sleep(PAUSE).await;
                }
                self.refresh().await?;
            }
        }
        let topology = self.topology().await?;
        Ok((Arc::clone(leader(&topology, topology.slot(key))?), false))
    }

    /// Returns the redirect in a reply, if there is one. A single server sends no redirects. If it
    /// does not accept writes any more, the store reconnects to it.
    pub(crate) fn redirect_in(&self, answer: &Reply, node: &Node) -> Option<Redirect> {
        let Reply::Error(error) = answer else { return None };
        let address = || {
            let redirect = error.details().split_ascii_whitespace().nth(1)?;
            discovery::parse_redirect(redirect, &node.address)
        };
        match (&self.common.discovery, error.code()) {
            // The host name may lead to another server by now: managed services move the name at a
            // failover.
            (Discovery::Fixed(_), "READONLY") => {
                node.reconnect();
                None
            }
            (Discovery::Sentinels(_), "READONLY") => Some(Redirect::Demoted),
            (Discovery::Cluster(_), "MOVED") => address().map(Redirect::Moved),
            (Discovery::Cluster(_), "ASK") => address().map(Redirect::Ask),
            (Discovery::Cluster(_), "TRYAGAIN" | "CLUSTERDOWN") => Some(Redirect::TryAgain),
            _ => None,
        }
    }

    /// Marks the topology as stale if the error suggests it, and returns the error.
    pub(crate) fn note_failure(&self, error: Error) -> Error {
        self.mark_stale(&error);
        error
    }

    /// Updates this slot at once, and refreshes the topology because other slots may have moved as
    /// well.
    fn moved(self: &Arc<Self>, slot: u16, to: &Node) {
        if let Some(topology) = self.known_topology() {
            topology.moved(slot, to);
        }
        self.refresh_in_background();
    }
}

/// The code of the error reply of a server that does not know a script.
pub(crate) const NO_SCRIPT: &str = "NOSCRIPT";

/// Returns the reply, or an error for an error reply other than `NOSCRIPT`.
pub(crate) fn checked(answer: Reply, node: &Node) -> Result<Reply> {
    match answer {
        Reply::Error(it) if it.code() != NO_SCRIPT => {
            Err(error::at(error::from_reply(&it), &node.address))
        }
        answer => Ok(answer),
    }
}

/// Returns the leader of a slot.
pub(crate) fn leader(topology: &Topology, slot: u16) -> Result<&Arc<Node>> {
    match topology.shard(slot) {
        Some((_, shard)) => Ok(&shard.leader),
        None => Err(Error::new(
            ErrorKind::Unavailable,
            format!("no server of the cluster serves slot {slot}"),
        )),
    }
}
