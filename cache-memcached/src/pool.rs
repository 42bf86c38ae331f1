//! The servers of a store, for one runtime.

use std::sync::Arc;

use cache_core::{
    Clock, Error, ErrorKind, Result,
    store::{SharedDeadline, StoreId},
};
use memcache::exp::MetaCommand;
use tokio::runtime::Handle;

use crate::{
    address::Address,
    command,
    connections::Connections,
    error,
    generation::KeyNames,
    options::{Plan, WhenDown},
    reply::Reply,
    ring::Ring,
    server::{Caller, Member, Moment, Server},
};

/// The parts that all runtimes share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) plan: Plan,
    pub(crate) ring: Ring,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) clock: Clock,
    /// The deadline of a change that waits for other changes of a counter.
    pub(crate) turn: SharedDeadline,
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
}

/// The server of a key.
#[derive(Clone)]
pub(crate) struct KeyLocation {
    pub(crate) member: Arc<Member>,
    key: String,
    caller: Caller,
}

impl KeyLocation {
    /// For calls from a task of the store, which need no other task for their exchanges.
    pub(crate) fn in_task(self) -> Self {
        Self { caller: Caller::Task, ..self }
    }

    pub(crate) fn address(&self) -> &Address {
        self.member.address()
    }

    /// Returns the key as callers write it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Sends one command about the entry.
    pub(crate) async fn ask(
        &self,
        command: impl Fn(String) -> MetaCommand + Send + Sync,
    ) -> Result<Reply> {
        let mut answers = self.ask_all(|it| vec![command(it.entry(&self.key))]).await?;
        answers.pop().ok_or_else(|| error::unexpected_reply(self.address()))
    }

    /// Sends several commands in one pipeline.
    pub(crate) async fn ask_all(
        &self,
        commands: impl Fn(&KeyNames) -> Vec<MetaCommand> + Send + Sync,
    ) -> Result<Vec<Reply>> {
        Ok(self.ask_at(commands).await?.0)
    }

    /// Sends several commands in one pipeline. Also returns the moment, for
    /// [`ask_if_same`](Self::ask_if_same).
    pub(crate) async fn ask_at(
        &self,
        commands: impl Fn(&KeyNames) -> Vec<MetaCommand> + Send + Sync,
    ) -> Result<(Vec<Reply>, Moment)> {
        self.member.ask_named(&self.key, self.caller, commands).await
    }

    /// Sends a command about an entry that was read at this moment. Returns `None` without sending
    /// it if a connection has started or ended since, because the entry may be another one.
    pub(crate) async fn ask_if_same(
        &self,
        moment: &Moment,
        command: MetaCommand,
    ) -> Result<Option<Reply>> {
        self.member.ask_if_same(self.caller, moment, command).await
    }

    /// Sends a command that depends on an entry read at this moment. Returns whether it was
    /// executed.
    pub(crate) async fn is_done_to(
        &self,
        moment: &Moment,
        command: impl FnOnce(String) -> MetaCommand,
    ) -> Result<bool> {
        let answer = self.ask_if_same(moment, command(moment.names.entry(&self.key))).await?;
        answer.map_or(Ok(false), |it| command::done(&it, self.address()))
    }

    /// Sends a command about the entry. Returns whether it was executed.
    pub(crate) async fn is_done(
        &self,
        command: impl Fn(String) -> MetaCommand + Send + Sync,
    ) -> Result<bool> {
        command::done(&self.ask(command).await?, self.address())
    }
}

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: &Handle) -> Arc<Self> {
        let plan = &common.plan;
        let member = |server: &Arc<Server>| {
            let (address, clock) = (server.address.clone(), common.clock.clone());
            let (runtime, of_calls) = (runtime.clone(), common.clock.clone());
            let way = Connections::new(
                address,
                Arc::clone(&server.generations),
                plan.connections,
                plan.deadline,
                plan.connect_deadline,
                clock,
            );
            Arc::new(Member::new(Arc::clone(server), way, runtime, of_calls, plan.deadline))
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
    pub(crate) fn locate(&self, key: &str) -> Result<KeyLocation> {
        let member = Arc::clone(&self.members[self.number(key)?]);
        Ok(KeyLocation { member, key: key.to_owned(), caller: Caller::Future })
    }
}
