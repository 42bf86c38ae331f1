//! One server: its breaker, its connections, and commands on them.

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
use cache_net::ConnectionSlots;
use futures_util::future::join_all;

use crate::{
    abandoned::Abandoned,
    address::Address,
    connection::Connection,
    connector::{Server, Slot},
    encoder::{Commands, Encoder, result},
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
    /// A single server is protected by the breaker of its store.
    breaker: Option<Arc<Breaker>>,
}

impl Node {
    pub(crate) fn new(address: Address, slots: Vec<Slot>, breaker: Option<Arc<Breaker>>) -> Self {
        let connections = ConnectionSlots::new(slots);
        let abandoned = Abandoned::at(&address);
        let may_not_kill = AtomicBool::new(false);
        Self { address, connections, abandoned, may_not_kill, breaker }
    }

    /// Returns the number of the connection for a key. It is always the same, so that commands
    /// about one key keep their order.
    pub(crate) fn connection_of(&self, key: &str) -> usize {
        slot::connection_index(key, self.connections.slots().len())
    }

    /// Executes commands about one key.
    pub(crate) async fn execute(&self, key: &str, commands: &Commands<'_>) -> Result<Reply> {
        let call = pin!(async {
            let (slot, connection) = self.connected(self.connection_of(key)).await?;
            // Before the reply: other calls may be refused, too, and give the commands up.
            let is_newer = commands.newer && connection.newer.compare();
            let reply = execute(slot, &connection, commands).await?;
            if is_newer && NewerCommands::is_refused(&reply) {
                connection.newer.give_up();
                return Box::pin(execute(slot, &connection, commands)).await;
            }
            Ok(reply)
        });
        self.past_breaker(call).await
    }

    /// Executes commands about a key that migrates to this server, after `ASKING`.
    pub(crate) async fn execute_asking(&self, key: &str, commands: &Commands<'_>) -> Result<Reply> {
        let call = pin!(async {
            let (slot, connection) = self.connected(self.connection_of(key)).await?;
            let is_newer = commands.newer && connection.newer.compare();
            let reply = execute_asking(slot, &connection, commands).await?;
            if is_newer && NewerCommands::is_refused(&reply) {
                connection.newer.give_up();
                return Box::pin(execute_asking(slot, &connection, commands)).await;
            }
            Ok(reply)
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
            let (slot, connection) = self.connected(connection).await?;
            let first = commands(&connection.newer);
            let replies = send_many(slot, &connection, &first).await?;
            match &replies[..] {
                // The only command was not executed.
                [reply] if first.newer && NewerCommands::is_refused(reply) => {
                    connection.newer.give_up();
                    let again = commands(NewerCommands::none());
                    Box::pin(send_many(slot, &connection, &again)).await
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
        match self.connections.ready(own) {
            Some(found) if !self.must_kill() => Ok(found),
            _ => Box::pin(self.connect(own)).await,
        }
    }

    #[cold]
    async fn connect(&self, own: usize) -> Result<(&Slot, Arc<Connection>)> {
        let connected = self.connections.connection(own).await;
        let (slot, connection) = connected.map_err(|it| error::at(it, &self.address))?;
        if self.must_kill() {
            let clients = self.abandoned.clients();
            let kill = |out: &mut Encoder<'_>| clients.iter().for_each(|it| it.kill(out));
            let replies = send(slot, &connection, &Commands::many(clients.len(), &kill)).await?;
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
        let (slot, connection) = self.connected(0).await?;
        let query = |out: &mut Encoder<'_>| out.command(words);
        self.checked(execute(slot, &connection, &Commands::one(&query)).await?)
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
        let connection = slot.connection().await?;
        self.checked(execute(slot, &connection, &PING).await?)
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

const PING: Commands<'_> =
    Commands { replies: 1, encode: &|out| out.command(&["PING"]), newer: false, size: 0 };

/// Executes commands about one key.
async fn execute(
    slot: &Slot,
    connection: &Arc<Connection>,
    commands: &Commands<'_>,
) -> Result<Reply> {
    if commands.replies == 1 && !commands.is_large() {
        // The future is pinned, because it would be copied at each call.
        let reply = pin!(connection.wire.call(|out| connection.encode(commands.encode, out)));
        let reply = slot.run(slot.deadline(), connection, reply).await;
        return connection.received(slot.deadline(), reply, commands.encode);
    }
    let replies = Box::pin(send(slot, connection, commands)).await?;
    Ok(result(commands.replies, replies.into_iter()))
}

async fn execute_asking(
    slot: &Slot,
    connection: &Arc<Connection>,
    commands: &Commands<'_>,
) -> Result<Reply> {
    let asking = |out: &mut Encoder<'_>| {
        out.command(&["ASKING"]);
        (commands.encode)(out);
    };
    let asking = Commands { replies: 1 + commands.replies, encode: &asking, ..*commands };
    let replies = send(slot, connection, &asking).await?;
    Ok(result(commands.replies, replies.into_iter().skip(1)))
}

async fn send(
    slot: &Slot,
    connection: &Arc<Connection>,
    commands: &Commands<'_>,
) -> Result<Vec<Reply>> {
    let replies = pin!(connection.replies(commands));
    let replies = slot.run(slot.deadline(), connection, replies).await;
    connection.received(slot.deadline(), replies, commands.encode)
}

async fn send_many(
    slot: &Slot,
    connection: &Arc<Connection>,
    commands: &Commands<'_>,
) -> Result<Vec<Reply>> {
    let replies = pin!(connection.replies(commands));
    let replies = slot.run_many(slot.deadline(), connection, replies).await;
    connection.received(slot.deadline(), replies, commands.encode)
}
