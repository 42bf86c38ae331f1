//! The servers of a store, as one runtime has them.

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

/// What all runtimes have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) plan: Plan,
    pub(crate) ring: Ring,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) clock: Clock,
    /// Of calls that wait for their turn.
    pub(crate) turn: SharedDeadline,
    /// Of those that wait for the first connection besides.
    pub(crate) connect: SharedDeadline,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) members: Vec<Arc<Member>>,
}

impl Common {
    /// Returns the identity of the ring. The order of the servers does not count, as it does not decide where a key goes.
    pub(crate) fn store_id(&self) -> StoreId {
        let (addresses, weights) = (&self.plan.addresses, &self.plan.weights);
        let mut servers: Vec<_> =
            addresses.iter().zip(weights).map(|(it, weight)| format!("{it} {weight}")).collect();
        servers.sort_unstable();
        // A server that is alone has all keys, whatever its weight.
        if let ([_], [address]) = (&servers[..], &addresses[..]) {
            servers = vec![address.to_string()];
        }
        StoreId::new("memcached", servers)
    }
}

/// Where a key is.
#[derive(Clone)]
pub(crate) struct KeyLocation {
    pub(crate) member: Arc<Member>,
    key: String,
    caller: Caller,
}

impl KeyLocation {
    /// For a task of the store's own: what it asks needs no other.
    pub(crate) fn in_task(self) -> Self {
        Self { caller: Caller::Task, ..self }
    }

    pub(crate) fn address(&self) -> &Address {
        self.member.address()
    }

    /// The key, as the callers of the store have it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Asks one question about the entry, under the name that it has there.
    pub(crate) async fn ask(
        &self,
        command: impl Fn(String) -> MetaCommand + Send + Sync,
    ) -> Result<Reply> {
        let mut answers = self.ask_all(|it| vec![command(it.entry(&self.key))]).await?;
        answers.pop().ok_or_else(|| error::unexpected_reply(self.address()))
    }

    /// Asks several questions together, under the names of the server.
    pub(crate) async fn ask_all(
        &self,
        commands: impl Fn(&KeyNames) -> Vec<MetaCommand> + Send + Sync,
    ) -> Result<Vec<Reply>> {
        Ok(self.ask_at(commands).await?.0)
    }

    /// The same, and when that was.
    pub(crate) async fn ask_at(
        &self,
        commands: impl Fn(&KeyNames) -> Vec<MetaCommand> + Send + Sync,
    ) -> Result<(Vec<Reply>, Moment)> {
        self.member.ask_named(&self.key, self.caller, commands).await
    }

    /// Asks about what was seen at this moment; nothing if that may not be there any more.
    pub(crate) async fn ask_if_same(
        &self,
        moment: &Moment,
        command: MetaCommand,
    ) -> Result<Option<Reply>> {
        self.member.ask_if_same(self.caller, moment, command).await
    }

    /// Whether a command about the entry was done that holds only for what was seen at this moment.
    pub(crate) async fn is_done_to(
        &self,
        moment: &Moment,
        command: impl FnOnce(String) -> MetaCommand,
    ) -> Result<bool> {
        let answer = self.ask_if_same(moment, command(moment.names.entry(&self.key))).await?;
        answer.map_or(Ok(false), |it| command::done(&it, self.address()))
    }

    /// Whether a command about the entry was done.
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

    /// The number of the server that has a key now.
    pub(crate) fn number(&self, key: &str) -> Result<usize> {
        let first = self.common.ring.first(key);
        if self.common.plan.when_down == WhenDown::Miss || self.members[first].is_up() {
            return Ok(first);
        }
        let up = self.common.ring.order(key).into_iter().find(|it| self.members[*it].is_up());
        up.ok_or_else(|| Error::new(ErrorKind::Unavailable, "all servers are down"))
    }

    /// Where a key is now.
    pub(crate) fn locate(&self, key: &str) -> Result<KeyLocation> {
        let member = Arc::clone(&self.members[self.number(key)?]);
        Ok(KeyLocation { member, key: key.to_owned(), caller: Caller::Future })
    }
}
