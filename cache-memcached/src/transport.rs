//! The interface to the connections of one server.

use std::fmt;

use async_trait::async_trait;
use cache_core::Result;
use memcache::exp::MetaCommand;

use crate::reply::Reply;

/// Commands and replies. Dropping the future of a call does not affect other calls. The future must
/// be polled by a task of its own, because it may hold a connection between two polls.
#[async_trait]
pub(crate) trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends commands together, and returns a reply for each, in order. If one reply is missing,
    /// all fail, and the commands may have been executed or not.
    ///
    /// Returns `None` without sending the commands if the cached generations were invalidated since
    /// `invalidations` was read.
    async fn exchange(
        &self,
        commands: Vec<MetaCommand>,
        invalidations: Option<u64>,
    ) -> Result<Option<Vec<Reply>>>;

    /// Whether a connection exists, so that a call does not have to wait for a new one.
    fn is_connected(&self) -> bool;

    /// Whether the server has sent no reply for half of a call's deadline.
    fn is_silent(&self) -> bool;

    /// Returns the largest item that the server accepts, including the key.
    async fn item_size(&self) -> Result<u64>;

    /// Removes all entries.
    async fn flush_all(&self) -> Result<()>;
}

/// Sends a command whose key contains no generation.
#[async_trait]
pub(crate) trait SendCommand: Send + Sync {
    async fn send_command(&self, command: MetaCommand) -> Result<Reply>;
}
