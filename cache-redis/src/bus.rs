//! Messages between processes, by pub/sub.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{
    Error, Result,
    store::{Bus, BusMessage, BusReceiver, PerRuntime},
};

use crate::{
    encoder::{Commands, Encoder},
    error,
    node::Node,
    pool::{Common, Pool},
    push::{PushReceiver, text},
    reply,
    route::{ReadTarget, leader},
    stream::{self, Source},
    subscription::Request,
};

/// Pub/sub of the server that takes the writes. In a Cluster it is sharded pub/sub, of the server
/// that serves the slot of the channel: a message goes to this server only, and a server that does
/// not serve the slot any more refuses messages and ends subscriptions.
#[derive(Debug)]
pub(crate) struct PubSub {
    pub(crate) common: Arc<Common>,
    pub(crate) pools: Arc<PerRuntime<Pool>>,
}

/// The most messages in one pipeline.
const MESSAGES: usize = 1000;

#[async_trait]
impl Bus for PubSub {
    async fn publish(&self, channel: &str, messages: &[&str]) -> Result<()> {
        let pool = Pool::here(&self.common, &self.pools)?;
        for messages in messages.chunks(MESSAGES) {
            if self.common.is_cluster() {
                publish_at_slot(&pool, channel, messages).await?;
            } else {
                publish_at_leader(&pool, channel, messages).await?;
            }
        }
        Ok(())
    }

    async fn listen(&self, channel: &str, receiver: BusReceiver) -> Error {
        let command = if self.common.is_cluster() { "SSUBSCRIBE" } else { "SUBSCRIBE" };
        let request = Request {
            // The reply to the second command says that the first one has had its effect.
            commands: vec![vec![command.into(), channel.into()], vec!["PING".into()]],
            replies: 1,
            resp: self.common.nodes.connector.resp,
            refused: Error::clone,
        };
        let receive = Arc::clone(&receiver);
        let pushes = PushReceiver::new(move |message| {
            receive(text(message).map_or(BusMessage::Lost, BusMessage::Text));
        });
        let pool = match Pool::here(&self.common, &self.pools) {
            Ok(pool) => pool,
            Err(error) => return error,
        };
        let stream = stream::run(
            &pool,
            &self.pools,
            Source::LeaderOf(channel),
            &request,
            &pushes,
            || receiver(BusMessage::Ready),
            |heartbeat| receiver(BusMessage::Heartbeat(heartbeat)),
        );
        match stream.await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }
}

/// Publishes in a Cluster, where a server that does not serve the slot refuses the messages.
async fn publish_at_slot(pool: &Arc<Pool>, channel: &str, messages: &[&str]) -> Result<()> {
    let encode = |out: &mut Encoder<'_>| encode(out, "SPUBLISH", channel, messages);
    let publish = Commands::many(messages.len(), &encode).of_size(size(channel, messages));
    let reply = pool.execute(channel, ReadTarget::Leader, &publish).await?;
    reply::integer(&reply).map(drop)
}

/// Publishes at the server that takes the writes. A replica accepts messages as well, and does not
/// pass them on to its leader, so the server tells its role in the same pipeline.
async fn publish_at_leader(pool: &Arc<Pool>, channel: &str, messages: &[&str]) -> Result<()> {
    let mut is_new = false;
    loop {
        let topology = pool.topology().await?;
        let node = leader(&topology, topology.slot(channel))?;
        let Err(error) = send(node, channel, messages).await else { return Ok(()) };
        let error = pool.note_failure(error);
        if is_new || !error::is_demoted(&error) || !pool.common.has_sentinels() {
            return Err(error);
        }
        // The Sentinels may know the new leader.
        pool.refresh().await?;
        is_new = true;
    }
}

async fn send(node: &Node, channel: &str, messages: &[&str]) -> Result<()> {
    let asks = !node.hides_role();
    let encode = |out: &mut Encoder<'_>| {
        encode(out, "PUBLISH", channel, messages);
        // Behind the messages: a server that becomes a replica in between is noticed.
        if asks {
            out.command(&["ROLE"]);
        }
    };
    let count = messages.len() + usize::from(asks);
    let publish = Commands::many(count, &encode).of_size(size(channel, messages));
    let mut replies = node.send(node.connection_of(channel), &|_| publish).await?.into_iter();
    for reply in replies.by_ref().take(messages.len()) {
        reply::integer(&reply).map_err(|it| error::at(it, &node.address))?;
    }
    if node.heard(&replies.next().unwrap_or_default()) {
        node.reconnect();
        return Err(error::at(error::demoted(), &node.address));
    }
    Ok(())
}

fn encode(out: &mut Encoder<'_>, command: &str, channel: &str, messages: &[&str]) {
    for it in messages {
        out.command(&[command, channel, it]);
    }
}

fn size(channel: &str, messages: &[&str]) -> usize {
    messages.iter().map(|it| channel.len() + it.len()).sum()
}
