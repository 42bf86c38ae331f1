//! The way to one server. The connections are behind it, so that others can take their place.

use std::fmt;

use async_trait::async_trait;
use cache_core::Result;
use memcache::exp::MetaCommand;

use crate::reply::Reply;

/// Questions and answers. Dropping the future of a call disturbs no other; to be polled by a task that is the call's own, as it may
/// hold a connection in between.
#[async_trait]
pub(crate) trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Questions that are sent together, and an answer for each, in order; all of them fail if one answer does not come. Whether the
    /// commands had their effect is unknown then.
    ///
    /// `None`, and nothing was sent, if the generations have been [in doubt](crate::generation::Generations::doubt) since `doubts` was
    /// read.
    async fn exchange(
        &self,
        commands: Vec<MetaCommand>,
        invalidations: Option<u64>,
    ) -> Result<Option<Vec<Reply>>>;

    /// Whether there is a connection, so that a call need not wait until one is made.
    fn is_connected(&self) -> bool;

    /// Whether the server has answered nothing for half of a call's deadline.
    fn is_silent(&self) -> bool;

    /// The largest item that the server takes, key and all.
    async fn item_size(&self) -> Result<u64>;

    /// Removes everything.
    async fn flush_all(&self) -> Result<()>;
}
