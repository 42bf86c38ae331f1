//! One server: its connections and its breaker.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cache_core::{
    ErrorKind, Result,
    layer::{Breaker, BreakerState},
};
use cache_net::Attempt;
use futures_util::future::join_all;

use crate::{
    abandoned::Abandoned,
    address::Address,
    connection::Connection,
    connector::Slot,
    encoder::{Commands, Encoder},
    error,
    newer_commands::NewerCommands,
    reply,
    resp::Reply,
    slot,
    stand_in::StandIn,
};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    slots: Vec<Slot>,
    /// For each slot.
    stand_ins: Vec<StandIn>,
    abandoned: Arc<Abandoned>,
    /// Whether the server forbids this user to end connections.
    may_not_kill: AtomicBool,
    /// A single server is protected by the breaker of its store.
    breaker: Option<Arc<Breaker>>,
}

impl Node {
    pub(crate) fn new(address: Address, slots: Vec<Slot>, breaker: Option<Arc<Breaker>>) -> Self {
        let stand_ins = (0..slots.len()).map(StandIn::new).collect();
        let abandoned = Abandoned::at(&address);
        let may_not_kill = AtomicBool::new(false);
        Self { address, slots, stand_ins, abandoned, may_not_kill, breaker }
    }

    /// Returns the number of the connection for a key. It is always the same, so that commands
    /// about one key keep their order.
    pub(crate) fn connection_of(&self, key: &str) -> usize {
        slot::connection_index(key, self.slots.len())
    }

    /// Executes commands about one key.
    pub(crate) async fn execute(&self, key: &str, commands: Commands<'_>) -> Result<Reply> {
        let call = pin!(async {
            let (slot, connection) = self.connected(self.connection_of(key)).await?;
            let reply = connection.execute(slot, commands).await?;
            if connection.newer.give_up_if_forbidden(&reply) {
                return Box::pin(connection.execute(slot, commands)).await;
            }
            Ok(reply)
        });
        self.past_breaker(call).await
    }

    /// Executes commands about a key that migrates to this server, after `ASKING`.
    pub(crate) async fn execute_asking(&self, key: &str, commands: Commands<'_>) -> Result<Reply> {
        let call = pin!(async {
            let (slot, connection) = self.connected(self.connection_of(key)).await?;
            let reply = connection.execute_asking(slot, commands).await?;
            if connection.newer.give_up_if_forbidden(&reply) {
                return connection.execute_asking(slot, commands).await;
            }
            Ok(reply)
        });
        self.past_breaker(call).await
    }

    /// Sends commands about many keys on one connection. Returns their replies.
    pub(crate) async fn send<'a>(
        &self,
        connection: usize,
        commands: &(dyn Fn(&NewerCommands) -> Commands<'a> + Send + Sync),
    ) -> Result<Vec<Reply>> {
        let call = pin!(async {
            let (slot, connection) = self.connected(connection).await?;
            let replies = connection.send(slot, commands(&connection.newer)).await?;
            match &replies[..] {
                // The only command was not executed.
                [reply] if connection.newer.give_up_if_forbidden(reply) => {
                    connection.send(slot, commands(&connection.newer)).await
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
    async fn connected(&self, own: usize) -> Result<(&Slot, Arc<Connection>)> {
        let number = self.stand_ins[own].number();
        match self.slots[number].ready() {
            Some(connection) if number == own && !self.must_kill() => {
                Ok((&self.slots[own], connection))
            }
            _ => Box::pin(self.connect(own)).await,
        }
    }

    #[cold]
    async fn connect(&self, own: usize) -> Result<(&Slot, Arc<Connection>)> {
        let (slot, connection) = self.own_or_stand_in(own).await?;
        if self.must_kill() {
            let clients = self.abandoned.clients();
            let kill = |out: &mut Encoder<'_>| clients.iter().for_each(|it| it.kill(out));
            let replies = connection.send(slot, Commands::many(clients.len(), &kill)).await?;
            let res = self.abandoned.killed(&clients, &replies);
            if !res.map_err(|it| error::at(it, &self.address))? {
                self.may_not_kill.store(true, Ordering::Release);
            }
        }
        Ok((slot, connection))
    }

    /// Whether this store must end abandoned connections before anything else is sent.
    fn must_kill(&self) -> bool {
        self.abandoned.any() && !self.may_not_kill.load(Ordering::Acquire)
    }

    /// Returns a connection of the slot, or of another slot while the server rejects this one: it
    /// may allow fewer connections. Keys return to their own connection when the server has
    /// executed their commands on the other one, so that they keep their order.
    async fn own_or_stand_in(&self, own: usize) -> Result<(&Slot, Arc<Connection>)> {
        let (stand_in, own_slot) = (&self.stand_ins[own], &self.slots[own]);
        loop {
            let number = stand_in.number();
            if number != own {
                let slot = &self.slots[number];
                own_slot.connect_in_background();
                match slot.current() {
                    Some(connection) if own_slot.current().is_none() => {
                        return Ok((slot, slot.connection().await.unwrap_or(connection)));
                    }
                    connection => self.leave(own, number, connection).await?,
                }
                continue;
            }
            let error = match own_slot.connection().await {
                Ok(connection) => return Ok((own_slot, connection)),
                Err(error) => error,
            };
            let mut others = self.slots.iter().enumerate().filter(|it| it.0 != own);
            match others.find_map(|(i, slot)| Some((i, slot, slot.current()?))) {
                Some((i, slot, connection)) if stand_in.take(i) => return Ok((slot, connection)),
                Some(_) => {}
                None => return Err(error),
            }
        }
    }

    /// Returns the keys of a slot from this other connection, after their commands there are
    /// complete. Dropped calls count as well. Calls about other keys need not complete.
    async fn leave(
        &self,
        own: usize,
        number: usize,
        connection: Option<Arc<Connection>>,
    ) -> Result<()> {
        let (stand_in, slot) = (&self.stand_ins[own], &self.slots[number]);
        let begin = || completed(slot, connection.clone());
        let Some((stay, completed)) = stand_in.completed(number, begin) else { return Ok(()) };
        let outcome = completed.outcome().await;
        let is_closed = connection.is_none_or(|it| it.is_closed());
        if is_closed {
            // Its successor makes the server end what was in progress on it.
            slot.connect_in_background();
        }
        if is_closed || outcome.is_ok() {
            stand_in.end(stay);
            return Ok(());
        }
        stand_in.stay(stay);
        outcome
    }

    /// Makes the next call connect again.
    pub(crate) fn reconnect(&self) {
        self.slots.iter().for_each(|it| it.reconnect(None));
    }

    /// Whether the breaker admits calls.
    pub(crate) fn is_available(&self) -> bool {
        self.breaker.as_ref().is_none_or(|it| it.state() != BreakerState::Open)
    }

    /// Sends a command about the server itself, without its breaker.
    pub(crate) async fn query(&self, words: &[&str]) -> Result<Reply> {
        let (slot, connection) = self.connected(0).await?;
        self.checked(connection.execute(slot, Commands::one(&|out| out.command(words))).await?)
    }

    /// Checks that the server answers on each of its connections.
    pub(crate) async fn check(&self) -> Result<()> {
        let answers = join_all(self.slots.iter().map(|it| self.check_slot(it))).await;
        let there = answers.iter().filter(|it| it.is_ok()).count();
        let failed = answers.into_iter().find_map(Result::err);
        match failed {
            Some(it) if there > 0 => {
                let count = format!("{there} of {}", self.slots.len());
                Err(it.with_context("connections", count))
            }
            Some(it) => Err(it),
            None => Ok(()),
        }
    }

    async fn check_slot(&self, slot: &Slot) -> Result<Reply> {
        let connection = slot.connection().await?;
        self.checked(connection.execute(slot, PING).await?)
    }

    fn checked(&self, reply: Reply) -> Result<Reply> {
        match reply {
            Reply::Error(it) => Err(error::at(error::from_reply(&it), &self.address)),
            reply => Ok(reply),
        }
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

const PING: Commands<'_> = Commands { replies: 1, encode: &|out| out.command(&["PING"]), size: 0 };

/// Begins to wait until all commands that were sent on the connection are complete: the server
/// replies in order.
fn completed(slot: &Slot, connection: Option<Arc<Connection>>) -> Attempt<()> {
    let slot = Arc::clone(slot);
    let runtime = slot.connector().runtime.clone();
    Attempt::start(&runtime, async move {
        let Some(connection) = connection else { return Ok(()) };
        connection.execute(&slot, PING).await.map(drop)
    })
}
