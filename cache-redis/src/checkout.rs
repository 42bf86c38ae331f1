//! A connection for one call: sending commands on it, within the deadline.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use cache_core::Result;

use crate::{
    connection::Connection,
    connector::Slot,
    encoder::{Commands, Encoder, result},
    full_server,
    newer_commands::NewerCommands,
    publishing::{self, Channels},
    resp::Reply,
};

/// A connection, and the slot that replaces it if it stops replying.
pub(crate) struct Checkout<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) connection: Arc<Connection>,
}

impl Checkout<'_> {
    /// Executes commands about one key.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
    pub(crate) fn execute<'a>(
        &'a self,
        key: &'a str,
        commands: &'a Commands<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send + 'a {
        async move {
            let connection = &*self.connection;
            // Before the reply: other calls may be refused, too, and give the commands up.
            let is_newer = commands.newer && connection.newer.compare();
            let is_usual = commands.replies == 1 && !commands.asks && !commands.is_large();
            let reply = if is_usual && connection.channels(commands).is_none() {
                // The future is pinned, because it would be copied at each call.
                let reply = pin!(connection.wire.call(|out| connection.encode(commands, out)));
                let reply = self.slot.run(self.slot.deadline(), &self.connection, reply).await;
                self.connection.received(self.slot.deadline(), reply, commands.encode)?
            } else {
                // Boxed, because it would enlarge the futures of all calls.
                Box::pin(self.execute_unusual(key, commands)).await?
            };
            if is_newer && NewerCommands::is_refused(&reply) {
                self.connection.newer.give_up();
                return Box::pin(self.execute_unusual(key, commands)).await;
            }
            Ok(reply)
        }
    }

    /// As [`execute`](Self::execute), for commands in any form, whether they are published or not.
    async fn execute_unusual(&self, key: &str, commands: &Commands<'_>) -> Result<Reply> {
        let Some(channels) = self.connection.channels(commands) else {
            let replies = self.send(commands).await?;
            return Ok(result(commands.replies, replies.into_iter()));
        };
        Ok(match self.publish(channels, commands, key, false).await? {
            // The reply to the only command.
            Reply::Array(replies) if !commands.is_transaction => {
                replies.into_iter().next().unwrap_or_default()
            }
            reply => reply,
        })
    }

    /// Executes commands about many keys. The deadline starts again while replies arrive.
    pub(crate) async fn execute_many(&self, commands: &Commands<'_>) -> Result<Vec<Reply>> {
        let Some(channels) = self.connection.channels(commands) else {
            return self.send_many(commands).await;
        };
        Ok(match Box::pin(self.publish(channels, commands, "", true)).await? {
            Reply::Array(replies) => replies,
            // The reason why nothing was executed.
            other => vec![other; commands.replies],
        })
    }

    /// Executes commands, and publishes the keys that they change, by one transaction. A server
    /// that rejects it because of its memory limit gets one script, if that needs no memory.
    /// Returns the array of the replies, or the reason why nothing was executed.
    async fn publish(
        &self,
        channels: &Channels,
        commands: &Commands<'_>,
        key: &str,
        are_many: bool,
    ) -> Result<Reply> {
        let encode = |out: &mut Encoder<'_>| channels.encode(out, commands, key);
        let published = publishing::published(commands, &encode);
        let replies = self.send_all(&published, are_many).await?;
        let reply = publishing::result(&published, replies);
        if !full_server::is_rejected(&reply) {
            return Ok(reply);
        }
        let Some(script) = full_server::script(channels, commands, key) else { return Ok(reply) };
        let encode = |out: &mut Encoder<'_>| out.command(&script);
        let run = Commands::one(&encode).of_size(script.iter().map(Bytes::len).sum());
        let run = if commands.asks { run.asking() } else { run };
        Ok(result(run.replies, self.send_all(&run, are_many).await?.into_iter()))
    }

    async fn send_all(&self, commands: &Commands<'_>, are_many: bool) -> Result<Vec<Reply>> {
        if are_many { self.send_many(commands).await } else { self.send(commands).await }
    }

    /// Sends commands, and returns all their replies.
    pub(crate) async fn send(&self, commands: &Commands<'_>) -> Result<Vec<Reply>> {
        let Self { slot, connection } = self;
        let replies = pin!(connection.replies(commands));
        let replies = slot.run(slot.deadline(), connection, replies).await;
        connection.received(slot.deadline(), replies, commands.encode)
    }

    async fn send_many(&self, commands: &Commands<'_>) -> Result<Vec<Reply>> {
        let Self { slot, connection } = self;
        let replies = pin!(connection.replies(commands));
        let replies = slot.run_many(slot.deadline(), connection, replies).await;
        connection.received(slot.deadline(), replies, commands.encode)
    }
}
