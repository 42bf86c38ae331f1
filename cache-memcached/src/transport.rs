//! The way to one server. The client of the `memcache` crate is behind it, so that another can take its place.

use std::fmt;

use async_trait::async_trait;
use cache_core::Result;
use memcache::exp::{MetaCommand, MetaResponse};

/// Questions and answers. Dropping the future of a call disturbs no other.
#[async_trait]
pub(crate) trait Transport: fmt::Debug + Send + Sync + 'static {
    /// One question. Whether the command had its effect is unknown if this fails.
    async fn ask(&self, command: MetaCommand) -> Result<MetaResponse>;

    /// Many questions at once, an answer for each, in order; all of them fail if one answer does not come.
    async fn ask_all(&self, commands: Vec<MetaCommand>) -> Result<Vec<MetaResponse>>;

    /// Whether no connection is known to have ended: a server that has closed them may have been started anew, and be empty. Asks nobody.
    fn is_whole(&self) -> bool;

    /// The largest item that the server takes, key and all.
    async fn item_size(&self) -> Result<u64>;

    /// Removes everything.
    async fn flush_all(&self) -> Result<()>;
}
