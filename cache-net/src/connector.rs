//! Makes the connections of a slot.

use cache_core::Result;
use tokio::runtime::Handle;

use crate::Peek;

/// Makes and supervises the connections of a [`ConnectionSlot`](crate::ConnectionSlot).
pub trait Connector: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + Sync + 'static;

    /// Makes a connection, within a time limit of its own. Its tasks run on this runtime.
    fn connect(&self, runtime: &Handle) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Sends a ping and waits for the reply.
    fn ping(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send;

    /// Returns whether the connection is closed: by the server, by `abort`, or because its runtime
    /// has shut down.
    fn is_closed(&self, connection: &Self::Connection) -> bool;

    /// Closes the connection at once, with all calls on it. It may be closed already.
    fn abort(&self, connection: &Self::Connection);

    /// Returns what the operating system has received on the connection; its task may not know yet.
    /// See [`SocketHandle::peek`](crate::SocketHandle::peek).
    fn peek(&self, _connection: &Self::Connection) -> Peek {
        Peek::Empty
    }

    /// Returns how much has arrived on the connection, in bytes or in replies, also for dropped
    /// calls. A connection whose number grows is alive.
    fn replies(&self, _connection: &Self::Connection) -> u64 {
        0
    }
}
