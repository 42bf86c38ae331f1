use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::Heartbeat;
use crate::error::{Error, Result};

/// Messages between the processes of a service, through the server of a store. See
/// [`Views::bus`](super::Views::bus).
#[async_trait]
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Sends messages to all that listen to the channel, also in this process. They arrive in
    /// order.
    ///
    /// # Errors
    /// The server may have received some of the messages, or all.
    ///
    /// # Cancel safety
    /// The messages may be sent or not.
    async fn publish(&self, channel: &str, messages: &[&str]) -> Result<()>;

    /// Reports the messages of a channel until the stream ends. Returns the reason.
    ///
    /// A message that was published after [`Ready`](BusMessage::Ready) is reported as
    /// [`Text`](BusMessage::Text) or as [`Lost`](BusMessage::Lost). If the stream falls silent, the
    /// store notices it within seconds and ends the stream. The call is made in the library's own
    /// runtime.
    ///
    /// # Cancel safety
    /// The stream ends.
    async fn listen(&self, channel: &str, receiver: BusReceiver) -> Error;
}

/// Receives the messages of [`Bus::listen`], in order. It does not block.
pub type BusReceiver = Arc<dyn Fn(BusMessage<'_>) + Send + Sync>;

/// A message of [`Bus::listen`].
///
/// ```
/// use cache_core::store::BusMessage;
///
/// assert_ne!(BusMessage::Text("hello"), BusMessage::Lost);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusMessage<'a> {
    /// The stream is open: all messages from now on are reported.
    Ready,
    /// A message.
    Text(&'a str),
    /// One message or several were lost, or cannot be read.
    Lost,
    /// All messages that the server received before this heartbeat have been reported.
    Heartbeat(Heartbeat),
}
