//! One server: its breaker, its connections, and commands on them.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{
    Clock, ErrorKind, Result,
    layer::{Breaker, BreakerState},
};
use cache_net::{ConnectionSlots, within};
use futures_util::future::join_all;

use crate::{
    abandoned::Abandoned,
    address::Address,
    checkout::Checkout,
    connector::{Server, Slot},
    encoder::{Change, Commands, Encoder},
    error,
    newer_commands::NewerCommands,
    reply,
    resp::Reply,
    slot,
};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    connections: ConnectionSlots<Server>,
    abandoned: Arc<Abandoned>,
    /// Whether the server forbids this user to end connections.
    may_not_kill: AtomicBool,
    /// Whether the server forbids this user `ROLE`.
    hides_role: AtomicBool,
    /// A single server is protected by the breaker of its store.
    breaker: Option<Arc<Breaker>>,
}

impl Node {
    pub(crate) fn new(address: Address, slots: Vec<Slot>, breaker: Option<Arc<Breaker>>) -> Self {
        let connections = ConnectionSlots::new(slots);
        let abandoned = Abandoned::at(&address);
        let (may_not_kill, hides_role) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { address, connections, abandoned, may_not_kill, hides_role, breaker }
    }

    /// Returns the number of the connection for a key. It is always the same, so that commands
    /// about one key keep their order.
    pub(crate) fn connection_of(&self, key: &str) -> usize {
        slot::connection_index(key, self.connections.slots().len())
    }

    /// Executes commands about one key.
    pub(crate) async fn execute(&self, key: &str, commands: &Commands<'_>) -> Result<Reply> {
        let call = pin!(async {
            self.connected(self.connection_of(key)).await?.execute(key, commands).await
        });
        self.past_breaker(call).await
    }

    /// Sends commands about many keys on one connection. Returns their replies. The deadline
    /// starts again while replies arrive.
    pub(crate) async fn send<'a>(
        &self,
        connection: usize,
        commands: &(dyn Fn(&NewerCommands) -> Commands<'a> + Send + Sync),
    ) -> Result<Vec<Reply>> {
        let call = pin!(async {
            let checkout = self.connected(connection).await?;
            let newer = &checkout.connection.newer;
            let first = commands(newer);
            let replies = checkout.execute_many(&first).await?;
            match &replies[..] {
                // The only command was not executed.
                [reply] if first.newer && NewerCommands::is_refused(reply) => {
                    newer.give_up();
                    let again = commands(NewerCommands::none());
                    Box::pin(checkout.execute_many(&again)).await
                }
                _ => Ok(replies),
            }
        });
        self.past_breaker(call).await
    }

    /// Makes a call. The future is pinned, because it would be copied at each call.
    async fn past_breaker<T>(&self, call: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
        let Some(breaker) = &self.breaker else { return call.await };
        breaker.run(call).await.map_err(|it| error::at(it, &self.address))
    }

    /// Returns the connection for the keys of a slot. Before anything is sent on it, the server
    /// ends the abandoned connections.
    async fn connected(&self, own: usize) -> Result<Checkout<'_>> {
        match self.connections.ready(own) {
            Some((slot, connection)) if !self.must_kill() => Ok(Checkout { slot, connection }),
            _ => Box::pin(self.connect(own)).await,
        }
    }

    #[cold]
    async fn connect(&self, own: usize) -> Result<Checkout<'_>> {
        let connected = self.connections.connection(own).await;
        let (slot, connection) = connected.map_err(|it| error::at(it, &self.address))?;
        let checkout = Checkout { slot, connection };
        if self.must_kill() {
            let clients = self.abandoned.clients();
            let kill = |out: &mut Encoder<'_>| clients.iter().for_each(|it| it.kill(out));
            let replies = checkout.send(&Commands::many(clients.len(), &kill)).await?;
            let res = self.abandoned.killed(&clients, &replies);
            if !res.map_err(|it| error::at(it, &self.address))? {
                self.may_not_kill.store(true, Ordering::Release);
            }
        }
        Ok(checkout)
    }

    /// Whether this store must end abandoned connections before anything else is sent.
    fn must_kill(&self) -> bool {
        self.abandoned.any() && !self.may_not_kill.load(Ordering::Acquire)
    }

    /// Makes the next call connect again.
    pub(crate) fn reconnect(&self) {
        self.connections.slots().iter().for_each(|it| it.reconnect(None));
    }

    /// Whether the breaker admits calls.
    pub(crate) fn is_available(&self) -> bool {
        self.breaker.as_ref().is_none_or(|it| it.state() != BreakerState::Open)
    }

    /// Sends a command about the server itself, without its breaker.
    pub(crate) async fn query(&self, words: &[&str]) -> Result<Reply> {
        self.change(words, &Change::None).await
    }

    /// Sends a command that changes many keys, without the breaker of the server.
    pub(crate) async fn change(&self, words: &[&str], change: &Change<'_>) -> Result<Reply> {
        let query = |out: &mut Encoder<'_>| out.command(words);
        let query = Commands::one(&query).changing(change);
        self.checked(self.connected(0).await?.execute("", &query).await?)
    }

    /// Checks that the server answers on each of its connections.
    pub(crate) async fn check(&self) -> Result<()> {
        let slots = self.connections.slots();
        let answers = join_all(slots.iter().map(|it| self.check_slot(it))).await;
        let there = answers.iter().filter(|it| it.is_ok()).count();
        let failed = answers.into_iter().find_map(Result::err);
        match failed {
            Some(it) if there > 0 => {
                let count = format!("{there} of {}", slots.len());
                Err(it.with_context("connections", count))
            }
            Some(it) => Err(it),
            None => Ok(()),
        }
    }

    async fn check_slot(&self, slot: &Slot) -> Result<Reply> {
        let checkout = Checkout { slot, connection: slot.connection().await? };
        let ping = Commands::one(&|out| out.command(&["PING"]));
        self.checked(checkout.execute("", &ping).await?)
    }

    fn checked(&self, reply: Reply) -> Result<Reply> {
        match reply {
            Reply::Error(it) => Err(error::at(error::from_reply(&it), &self.address)),
            reply => Ok(reply),
        }
    }

    /// Whether the server says on a connection of this store that it is a replica. The host name
    /// may lead to another server by now, and each connection may be to one of its own, so the
    /// next call connects again.
    pub(crate) async fn leaves_replica(&self, clock: &Clock, time: Duration) -> bool {
        if self.hides_role() {
            return false;
        }
        // Without a word to the slots: the runtime of the connections may stand still, and they
        // would count as frozen.
        let open = self.connections.slots().iter().filter_map(|it| it.current());
        let roles = open.map(|it| async move { within(clock, time, it.role()).await });
        let roles = join_all(roles).await.into_iter().flatten().filter_map(Result::ok);
        let is_replica = roles.fold(false, |res, it| res | self.heard(&it));
        if is_replica {
            self.reconnect();
        }
        is_replica
    }

    /// Whether the server has forbidden this user `ROLE`.
    pub(crate) fn hides_role(&self) -> bool {
        self.hides_role.load(Ordering::Acquire)
    }

    /// Notes the reply to `ROLE`, and returns whether the server is a replica.
    pub(crate) fn heard(&self, role: &Reply) -> bool {
        if reply::is_forbidden(role) {
            self.hides_role.store(true, Ordering::Release);
        }
        reply::is_replica(role)
    }

    /// Whether the server's `ROLE` is leader. If the ACL forbids the command, the answer is true.
    pub(crate) async fn is_leader(&self) -> Result<bool> {
        let role = match self.query(&["ROLE"]).await {
            Ok(role) => reply::list(role)?.into_iter().next().unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Backend => return Ok(true),
            Err(error) => return Err(error),
        };
        Ok(reply::text(role)?.as_deref() == Some("master"))
    }
}
