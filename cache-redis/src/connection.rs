//! A connection to a server, and commands on it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::BytesMut;
use cache_core::{Error, ErrorKind, Result};
use cache_net::{ConnectionSlot, Connector, Lost, Peek, Wire};

use crate::{
    abandoned::{Abandoned, Client},
    address::Address,
    decoder::Decoder,
    encoder::{Commands, Encode, Encoder, result},
    error,
    limit::Limit,
    newer_commands::NewerCommands,
    resp::Reply,
};

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire<Decoder>,
    address: Address,
    pub(crate) newer: NewerCommands,
    /// The server's name of the connection, if it has one that no other connection can have.
    client: Option<Client>,
    abandoned: Arc<Abandoned>,
    is_abandoned: AtomicBool,
    /// The limit of values, if any are written, and its number of losses before this connection.
    limit: Option<(Arc<Limit>, u64)>,
}

/// The facts that a server tells about itself and a new connection.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    /// The server's name of the connection.
    pub(crate) client: Option<Client>,
    pub(crate) newer: NewerCommands,
}

impl Connection {
    pub(crate) fn new(
        wire: Wire<Decoder>,
        address: Address,
        greeting: Greeting,
        abandoned: Arc<Abandoned>,
        limit: Option<Arc<Limit>>,
    ) -> Self {
        let Greeting { client, newer } = greeting;
        let limit = limit.map(|it| {
            let losses = it.loss_count();
            (it, losses)
        });
        let is_abandoned = AtomicBool::new(false);
        Self { wire, address, newer, client, abandoned, is_abandoned, limit }
    }

    /// Executes commands about one key.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        slot: &Arc<ConnectionSlot<impl Connector<Connection = Self>>>,
        commands: Commands<'_>,
    ) -> Result<Reply> {
        if commands.replies == 1 && !commands.is_large() {
            let reply = pin!(self.wire.call(|out| self.encode(commands.encode, out)));
            let reply = slot.run(slot.deadline(), self, reply).await;
            return self.received(slot, reply, commands.encode);
        }
        let replies = Box::pin(self.execute_several(slot, commands)).await?;
        Ok(result(commands.replies, replies.into_iter()))
    }

    /// Executes commands about a key that migrates to this server, after `ASKING`.
    pub(crate) async fn execute_asking(
        self: &Arc<Self>,
        slot: &Arc<ConnectionSlot<impl Connector<Connection = Self>>>,
        commands: Commands<'_>,
    ) -> Result<Reply> {
        let asking = |out: &mut Encoder<'_>| {
            out.command(&["ASKING"]);
            (commands.encode)(out);
        };
        let asking = Commands { replies: 1 + commands.replies, encode: &asking, ..commands };
        let replies = self.execute_several(slot, asking).await?;
        Ok(result(commands.replies, replies.into_iter().skip(1)))
    }

    async fn execute_several(
        self: &Arc<Self>,
        slot: &Arc<ConnectionSlot<impl Connector<Connection = Self>>>,
        commands: Commands<'_>,
    ) -> Result<Vec<Reply>> {
        let replies = pin!(self.replies(commands));
        let replies = slot.run(slot.deadline(), self, replies).await;
        self.received(slot, replies, commands.encode)
    }

    /// Sends commands about many keys, and returns their replies. The deadline starts again while
    /// replies arrive.
    pub(crate) async fn send(
        self: &Arc<Self>,
        slot: &Arc<ConnectionSlot<impl Connector<Connection = Self>>>,
        commands: Commands<'_>,
    ) -> Result<Vec<Reply>> {
        let replies = pin!(self.replies(commands));
        let replies = slot.run_many(slot.deadline(), self, replies).await;
        self.received(slot, replies, commands.encode)
    }

    async fn replies(&self, commands: Commands<'_>) -> Result<Vec<Reply>, Lost> {
        if !commands.is_large() {
            let encode = |out: &mut BytesMut| self.encode(commands.encode, out);
            return self.wire.call_many(commands.replies, encode).await;
        }
        let mut encoded = BytesMut::with_capacity(commands.size + commands.size / 8);
        self.encode(commands.encode, &mut encoded);
        self.wire.call_encoded(commands.replies, encoded).await
    }

    fn encode(&self, encode: Encode<'_>, output: &mut BytesMut) {
        let mut encoder = Encoder::new(output);
        encoder.has_compare = self.newer.compare();
        encode(&mut encoder);
    }

    /// Sends `PING` and waits for any reply.
    pub(crate) async fn ping(&self) {
        // The slot records whether there was a reply.
        let _ = self.wire.call(|out| Encoder::new(out).command(&["PING"])).await;
    }

    /// Returns whether the connection is closed: by the server, by [`abandon`](Self::abandon), or
    /// because its runtime has shut down.
    pub(crate) fn is_closed(&self) -> bool {
        self.wire.is_closed()
    }

    pub(crate) fn peek(&self) -> Peek {
        self.wire.peek()
    }

    /// Returns how many bytes have arrived.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.wire.received()
    }

    /// Resets the connection, with all calls on it. The server ends it before another connection is
    /// used, because it may have received commands that it has not executed yet.
    pub(crate) fn abandon(&self) {
        self.wire.abort();
        if let Some(client) = &self.client
            && self.wire.is_busy()
            && !self.is_abandoned.swap(true, Ordering::AcqRel)
        {
            self.abandoned.add(client.clone());
        }
    }

    fn received<T>(
        &self,
        slot: &ConnectionSlot<impl Connector<Connection = Self>>,
        reply: Option<Result<T, Lost>>,
        encode: Encode<'_>,
    ) -> Result<T> {
        let error = match reply {
            Some(Ok(reply)) => return Ok(reply),
            Some(Err(lost)) => self.lost(lost, encode),
            None => {
                let what = format!(
                    "no answer within {:?}; a write may have had its effect",
                    slot.deadline().time()
                );
                Error::new(ErrorKind::TimedOut, what)
            }
        };
        Err(error::at(error, &self.address))
    }

    #[cold]
    fn lost(&self, lost: Lost, encode: Encode<'_>) -> Error {
        if lost.was_sent {
            self.abandon();
            if let Some((limit, before)) = &self.limit {
                limit.record_loss(Encoder::longest_argument(encode), *before);
            }
        }
        lost.error
    }
}

/// An idle connection closes gracefully.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.wire.is_busy() {
            self.abandon();
        }
    }
}
