//! The servers of a store, for one runtime.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicU64},
};

use cache_core::{
    Clock, Error, ErrorKind, Result,
    store::{SharedDeadline, StoreId},
};
use cache_net::Encryption;
use tokio::runtime::Handle;

use crate::{
    address::Address,
    command::Command,
    connector::Connector,
    error,
    key::{Key, KeyNames},
    moment::{Applied, Moment},
    options::{Plan, WhenDown},
    outcome,
    reply::Reply,
    ring::Ring,
    server::{Attempts, Member, Server},
};

/// The parts that all runtimes share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) plan: Plan,
    pub(crate) encryption: Encryption,
    pub(crate) ring: Ring,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) clock: Clock,
    /// The deadline of a call, and of a change that waits for other changes of a counter.
    pub(crate) deadline: SharedDeadline,
    /// The additional deadline of a change that waits for the first connection.
    pub(crate) connect: SharedDeadline,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) members: Vec<Arc<Member>>,
}

impl Common {
    /// Returns the identity of the ring. The order of the servers does not matter, because the
    /// servers of a key do not depend on it.
    pub(crate) fn store_id(&self) -> StoreId {
        let (addresses, weights) = (&self.plan.addresses, &self.plan.weights);
        let mut servers: Vec<_> =
            addresses.iter().zip(weights).map(|(it, weight)| format!("{it} {weight}")).collect();
        servers.sort_unstable();
        // A single server has all keys, whatever its weight.
        if let ([_], [address]) = (&servers[..], &addresses[..]) {
            servers = vec![address.to_string()];
        }
        StoreId::new("memcached", servers)
    }

    fn connector(&self, server: &Server, idle_limit: &Arc<AtomicU64>) -> Connector {
        Connector {
            address: server.address.clone(),
            login: self.plan.login.clone(),
            encryption: self.encryption.clone(),
            generations: Arc::clone(&server.generations),
            deadline: self.deadline.clone(),
            time: self.plan.connect_deadline,
            clock: self.clock.clone(),
            idle_limit: Arc::clone(idle_limit),
        }
    }
}

/// The server and the connection of a key.
#[derive(Clone)]
pub(crate) struct KeyLocation<'k> {
    pub(crate) member: Arc<Member>,
    connection: usize,
    key: Cow<'k, str>,
}

impl KeyLocation<'_> {
    /// Returns the location for a task, which outlives the caller.
    pub(crate) fn into_owned(self) -> KeyLocation<'static> {
        KeyLocation { key: Cow::Owned(self.key.into_owned()), ..self }
    }

    pub(crate) fn address(&self) -> &Address {
        self.member.address()
    }

    /// Returns the key as callers write it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Sends a command about the entry.
    pub(crate) async fn send<'c>(
        &'c self,
        command: impl Fn(Key<'c>) -> Command<'c> + Send + Sync,
    ) -> Result<Reply> {
        Ok(self.send_named(|names| command(names.entry(&self.key))).await?.0)
    }

    /// Sends a command about the entry. Returns whether it was executed.
    pub(crate) async fn is_done<'c>(
        &'c self,
        command: impl Fn(Key<'c>) -> Command<'c> + Send + Sync,
    ) -> Result<bool> {
        outcome::done(&self.send(command).await?, self.address())
    }

    /// Sends a command by the current names. Also returns the moment, for
    /// [`send_if_same`](Self::send_if_same).
    pub(crate) async fn send_named<'c>(
        &'c self,
        command: impl Fn(KeyNames) -> Command<'c> + Send + Sync,
    ) -> Result<(Reply, Moment)> {
        let (member, mut attempts) = (&self.member, Attempts::default());
        loop {
            let invalidations = member.begin(&mut attempts).await?;
            let names = member.names(&self.key).await?;
            let reply = member.send(self.connection, &command(names), Some(invalidations)).await?;
            if let Some(reply) = reply {
                return Ok((reply, Moment { names, invalidations }));
            }
        }
    }

    /// Sends several commands together. Also returns the moment, for
    /// [`send_if_same`](Self::send_if_same).
    pub(crate) async fn send_all<'c, const N: usize>(
        &'c self,
        commands: impl Fn(Key<'c>) -> [Command<'c>; N] + Send + Sync,
    ) -> Result<([Reply; N], Moment)> {
        let (member, mut attempts) = (&self.member, Attempts::default());
        loop {
            let invalidations = member.begin(&mut attempts).await?;
            let names = member.names(&self.key).await?;
            let commands = commands(names.entry(&self.key));
            let replies = member.send_all(self.connection, &commands, invalidations).await?;
            if let Some(replies) = replies {
                let replies: Result<Vec<Reply>> =
                    replies.into_iter().map(|it| member.reply(it)).collect();
                let replies = replies?.try_into();
                let replies = replies.map_err(|_| error::unexpected_reply(self.address()))?;
                return Ok((replies, Moment { names, invalidations }));
            }
        }
    }

    /// Sends a command about an entry that was read at this moment. Returns `None` without sending
    /// it if a connection has started or ended since, because the entry may be another one.
    pub(crate) async fn send_if_same(
        &self,
        moment: &Moment,
        command: &Command<'_>,
    ) -> Result<Option<Reply>> {
        self.member.send(self.connection, command, Some(moment.invalidations)).await
    }

    /// Sends a command that depends on an entry read at this moment.
    pub(crate) async fn apply<'c>(
        &'c self,
        moment: &Moment,
        command: impl FnOnce(Key<'c>) -> Command<'c>,
    ) -> Result<Applied> {
        let command = command(moment.names.entry(&self.key));
        let reply = self.send_if_same(moment, &command).await?;
        outcome::applied(reply.as_ref(), self.address())
    }
}

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: &Handle) -> Arc<Self> {
        let member = |server: &Arc<Server>| {
            let idle_limit = Arc::new(AtomicU64::new(u64::MAX));
            let connector = |_| common.connector(server, &idle_limit);
            let connectors = (0..common.plan.connections).map(connector);
            let (clock, deadline) = (&common.clock, &common.deadline);
            Arc::new(Member::new(Arc::clone(server), connectors, runtime, clock, deadline))
        };
        let members = common.servers.iter().map(member).collect();
        Arc::new(Self { common, members })
    }

    /// Returns the number of the server that currently has a key.
    pub(crate) fn number(&self, key: &str) -> Result<usize> {
        let first = self.common.ring.first(key);
        if self.common.plan.when_down == WhenDown::Miss || self.members[first].is_up() {
            return Ok(first);
        }
        let up = self.common.ring.order(key).into_iter().find(|it| self.members[*it].is_up());
        up.ok_or_else(|| Error::new(ErrorKind::Unavailable, "all servers are down"))
    }

    /// Returns the current location of a key.
    pub(crate) fn locate<'k>(&self, key: &'k str) -> Result<KeyLocation<'k>> {
        let member = Arc::clone(&self.members[self.number(key)?]);
        let connection = member.connection_of(key);
        Ok(KeyLocation { member, connection, key: Cow::Borrowed(key) })
    }
}
