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
    encoder::{Change, Commands, Encode, Encoder},
    error,
    limit::Limit,
    newer_commands::NewerCommands,
    publishing::Channels,
    resp::Reply,
};

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) wire: Wire<Decoder>,
    /// The version of the protocol.
    pub(crate) resp: u8,
    address: Address,
    pub(crate) newer: NewerCommands,
    /// The channels of the writes, if they may have to be published.
    channels: Option<Arc<Channels>>,
    /// Whether the server refuses tracking, and lets the user publish.
    must_publish: bool,
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
    /// The version of the protocol.
    pub(crate) resp: u8,
    /// The server's name of the connection.
    pub(crate) client: Option<Client>,
    pub(crate) newer: NewerCommands,
    /// Whether the server refuses tracking, and lets the user publish.
    pub(crate) must_publish: bool,
}

impl Connection {
    pub(crate) fn new(
        wire: Wire<Decoder>,
        address: Address,
        greeting: Greeting,
        abandoned: Arc<Abandoned>,
        limit: Option<Arc<Limit>>,
        channels: Option<Arc<Channels>>,
    ) -> Self {
        let Greeting { resp, client, newer, must_publish } = greeting;
        let limit = limit.map(|it| {
            let losses = it.loss_count();
            (it, losses)
        });
        let is_abandoned = AtomicBool::new(false);
        Self {
            wire,
            resp,
            address,
            newer,
            channels,
            must_publish,
            client,
            abandoned,
            is_abandoned,
            limit,
        }
    }

    /// Sends commands, and waits for their replies.
    pub(crate) async fn replies(&self, commands: &Commands<'_>) -> Result<Vec<Reply>, Lost> {
        let asking = usize::from(commands.asks);
        let count = asking + commands.replies;
        let replies = if commands.is_large() {
            let mut encoded = BytesMut::with_capacity(commands.size as usize / 8 * 9);
            self.encode(commands, &mut encoded);
            self.wire.call_encoded(count, encoded).await
        } else {
            self.wire.call_many(count, |out| self.encode(commands, out)).await
        };
        let mut replies = replies?;
        // Without that to `ASKING`.
        replies.drain(..asking);
        Ok(replies)
    }

    /// Appends commands, in the form that this server supports.
    pub(crate) fn encode(&self, commands: &Commands<'_>, output: &mut BytesMut) {
        let mut encoder = Encoder::new(output);
        encoder.has_compare = self.newer.compare();
        if commands.asks {
            encoder.command(&["ASKING"]);
        }
        (commands.encode)(&mut encoder);
    }

    /// Returns the channels to which these commands must publish what they change.
    #[inline]
    pub(crate) fn channels(&self, commands: &Commands<'_>) -> Option<&Channels> {
        let channels = self.channels.as_deref()?;
        let is_write = *commands.change != Change::None;
        (is_write && (self.must_publish || channels.always())).then_some(channels)
    }

    /// Returns the reply to `ROLE`.
    pub(crate) async fn role(&self) -> Result<Reply, Lost> {
        self.wire.call(|out| Encoder::new(out).command(&["ROLE"])).await
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
