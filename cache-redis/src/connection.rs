//! A connection to a server that is logged in.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::BytesMut;
use cache_core::{Error, ErrorKind, Result, store::SharedDeadline};
use cache_net::{Lost, Peek, Wire};

use crate::{
    abandoned::{Abandoned, Client},
    address::Address,
    decoder::Decoder,
    encoder::{Commands, Encode, Encoder},
    error,
    limit::Limit,
    newer_commands::NewerCommands,
    resp::Reply,
};

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) wire: Wire<Decoder>,
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

    /// Sends commands, and waits for their replies.
    pub(crate) async fn replies(&self, commands: &Commands<'_>) -> Result<Vec<Reply>, Lost> {
        if !commands.is_large() {
            let encode = |out: &mut BytesMut| self.encode(commands.encode, out);
            return self.wire.call_many(commands.replies, encode).await;
        }
        let mut encoded = BytesMut::with_capacity(commands.size + commands.size / 8);
        self.encode(commands.encode, &mut encoded);
        self.wire.call_encoded(commands.replies, encoded).await
    }

    /// Appends commands, in the form that this server supports.
    pub(crate) fn encode(&self, encode: Encode<'_>, output: &mut BytesMut) {
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

    /// Returns the reply to commands, or the reason for its absence.
    pub(crate) fn received<T>(
        &self,
        deadline: &SharedDeadline,
        reply: Option<Result<T, Lost>>,
        encode: Encode<'_>,
    ) -> Result<T> {
        match reply {
            Some(Ok(reply)) => Ok(reply),
            failed => Err(self.failure(deadline, failed.and_then(Result::err), encode)),
        }
    }

    #[cold]
    fn failure(&self, deadline: &SharedDeadline, lost: Option<Lost>, encode: Encode<'_>) -> Error {
        let time = deadline.time();
        let error = match lost {
            Some(lost) => self.lost(lost, encode),
            None => Error::new(
                ErrorKind::TimedOut,
                format!("no answer within {time:?}; a write may have had its effect"),
            ),
        };
        error::at(error, &self.address)
    }

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
