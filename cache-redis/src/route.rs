//! From keys to the servers that hold them, and after them when they have moved.

mod batch;

use std::{sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result};
use cache_net::within;
use redis::{ServerErrorKind, Value};

pub(crate) use self::batch::Batch;
use crate::{
    address::Address,
    command::Commands,
    discover::{self, Discover},
    error,
    map::Map,
    node::Node,
    options::ReadFrom,
    pool::Pool,
    slot,
};

/// Who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The one that takes the writes.
    Leader,
    /// A copy, if the settings say so: it may be behind.
    Anyone,
}

/// How often a call follows a key: a Cluster that answers more often in this way is not in order.
const HOPS: usize = 5;
/// How long keys may need to arrive, or a Cluster to find a leader.
const PAUSE: Duration = Duration::from_millis(20);

/// What a server says of a key that it does not serve. It has done nothing then.
enum Elsewhere {
    Moved(Address),
    /// It is on its way there.
    Ask(Address),
    Later,
    /// The server takes no writes any more.
    Demoted,
}

impl Pool {
    /// Asks about one key.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        key: &str,
        from: From,
        commands: &Commands,
    ) -> Result<Value> {
        match self.ask_or_load(key, from, commands).await? {
            Value::ServerError(it) => Err(error::refused(&it)),
            answer => Ok(answer),
        }
    }

    /// Asks about one key. The answer may be that the server does not know the script.
    pub(crate) async fn ask_or_load(
        self: &Arc<Self>,
        key: &str,
        from: From,
        commands: &Commands,
    ) -> Result<Value> {
        let map = self.map().await?;
        let slot = map.slot(key);
        if from == From::Anyone
            && self.common.read_from == ReadFrom::Replica
            && let Some(value) = Box::pin(self.ask_replica(&map, slot, key, commands)).await
        {
            return Ok(value);
        }
        // If nobody does, that is a doubt: somebody may serve it by now.
        let node = leader(&map, slot).map_err(|it| self.failed(it))?;
        let answer = match node.ask(key, commands).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failed(error)),
        };
        match self.elsewhere(&answer, node) {
            None => checked(answer, node),
            Some(place) => Box::pin(self.follow_in_time(place, answer, key, commands)).await,
        }
    }

    /// What a replica answers, if it can. One that cannot may be none any more.
    async fn ask_replica(
        &self,
        map: &Map,
        slot: u16,
        key: &str,
        commands: &Commands,
    ) -> Option<Value> {
        let replica = map.shard(slot)?.1.replica()?;
        let answer = replica.ask(key, commands).await.map_err(|it| self.failed(it)).ok()?;
        (!matches!(answer, Value::ServerError(_))).then_some(answer)
    }

    /// Goes where a key is said to be, for no longer than a call with one more connection may take.
    async fn follow_in_time(
        self: &Arc<Self>,
        place: Elsewhere,
        answer: Value,
        key: &str,
        commands: &Commands,
    ) -> Result<Value> {
        let connector = &self.common.connector;
        let time = self.common.deadline + connector.time;
        let found = within(&connector.clock, time, self.follow(place, answer, key, commands)).await;
        found.unwrap_or_else(|| {
            let what = format!("the key was not found among the servers within {time:?}; a write may have had its effect");
            Err(Error::new(ErrorKind::TimedOut, what))
        })
    }

    /// Goes where a key is said to be, and on from there.
    async fn follow(
        self: &Arc<Self>,
        mut place: Elsewhere,
        mut answer: Value,
        key: &str,
        commands: &Commands,
    ) -> Result<Value> {
        for hop in 1..=HOPS {
            let (node, is_arriving) = self.go(place, key, hop).await?;
            let res = if is_arriving {
                node.ask_arriving(key, commands).await
            } else {
                node.ask(key, commands).await
            };
            answer = res.map_err(|it| self.failed(it))?;
            match self.elsewhere(&answer, &node) {
                None => return checked(answer, &node),
                Some(next) => place = next,
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
    async fn go(
        self: &Arc<Self>,
        place: Elsewhere,
        key: &str,
        hop: usize,
    ) -> Result<(Arc<Node>, bool)> {
        match place {
            Elsewhere::Moved(address) => {
                let node = self.node(&address);
                self.moved(slot::slot(key), &node);
                return Ok((node, false));
            }
            Elsewhere::Ask(address) => return Ok((self.node(&address), true)),
            Elsewhere::Later => {
                self.look_soon();
                let pause = PAUSE * u32::try_from(hop).unwrap_or(1);
                self.common.connector.clock.sleep(pause).await;
            }
            Elsewhere::Demoted => {
                // It may take a moment until all Sentinels have heard of it.
                if hop > 1 {
                    self.common.connector.clock.sleep(PAUSE).await;
                }
                self.look().await?;
            }
        }
        let map = self.map().await?;
        Ok((Arc::clone(leader(&map, map.slot(key))?), false))
    }

    /// Where a key is instead, if that is the answer. Only of a group can it be; a single server that takes no writes any more is
    /// connected to anew.
    fn elsewhere(&self, answer: &Value, asked: &Node) -> Option<Elsewhere> {
        let Value::ServerError(error) = answer else { return None };
        let address = || {
            let place = error.details()?.split_ascii_whitespace().nth(1)?;
            discover::redirected(place, &asked.address)
        };
        match (&self.common.discover, error.kind()?) {
            // By now its name may lead to another, which takes them: managed services move it at a failover.
            (Discover::Fixed(_), ServerErrorKind::ReadOnly) => {
                asked.renew();
                None
            }
            (Discover::Sentinels(_), ServerErrorKind::ReadOnly) => Some(Elsewhere::Demoted),
            (Discover::Cluster(_), ServerErrorKind::Moved) => address().map(Elsewhere::Moved),
            (Discover::Cluster(_), ServerErrorKind::Ask) => address().map(Elsewhere::Ask),
            (Discover::Cluster(_), ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => {
                Some(Elsewhere::Later)
            }
            _ => None,
        }
    }

    /// Hands on an error, after noting that the map may be old if it is of that sort.
    fn failed(&self, error: Error) -> Error {
        self.doubt(&error);
        error
    }

    /// One slot is known at once; with it others may have moved.
    fn moved(self: &Arc<Self>, slot: u16, to: &Node) {
        if let Some(map) = self.known() {
            map.moved(slot, to);
        }
        self.look_soon();
    }
}

/// The answer, unless it is an error of the server's that nothing can be done about.
fn checked(answer: Value, from: &Node) -> Result<Value> {
    match answer {
        Value::ServerError(it) if it.kind() != Some(ServerErrorKind::NoScript) => {
            Err(error::at(error::refused(&it), &from.address))
        }
        answer => Ok(answer),
    }
}

/// Who takes the writes of a slot.
fn leader(map: &Map, slot: u16) -> Result<&Arc<Node>> {
    match map.shard(slot) {
        Some((_, shard)) => Ok(&shard.leader),
        None => Err(Error::new(
            ErrorKind::Unavailable,
            format!("nobody serves slot {slot} of the cluster"),
        )),
    }
}
