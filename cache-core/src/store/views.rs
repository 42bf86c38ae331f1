use std::sync::Arc;

use super::{Backend, SyncBackend};

/// The other forms in which a store can be called, as [`Backend::views`] returns them.
///
/// Later releases may add views, so a store starts from [`none`](Self::none).
///
/// ```
/// use cache_core::store::{Backend, Inline, Views};
/// use cache_memory::Memory;
/// use std::sync::Arc;
///
/// let store: Arc<dyn Backend> = Arc::new(Inline::new(Memory::new()));
/// assert!(store.views().sync.is_some(), "memory never waits");
/// assert!(Views::none().leader.is_none());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Views {
    /// The same store without futures, if its calls never wait. The cache then boxes no future.
    pub sync: Option<Arc<dyn SyncBackend>>,
    /// The same store with every read answered by the server that takes the writes, if the reads of
    /// the store may be answered by a replica that lags behind.
    ///
    /// The cache reads through it where a stale answer would do harm: before and inside loads, for
    /// `update`, and before it removes damaged bytes. The view has no views of its own, and a store
    /// with a `sync` view has no `leader` view.
    pub leader: Option<Arc<dyn Backend>>,
}

impl Views {
    /// Creates the views of a store that has only its asynchronous form.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the view without futures.
    #[must_use]
    pub fn with_sync(mut self, view: Arc<dyn SyncBackend>) -> Self {
        self.sync = Some(view);
        self
    }

    /// Sets the view that reads where the store writes.
    #[must_use]
    pub fn with_leader(mut self, view: Arc<dyn Backend>) -> Self {
        self.leader = Some(view);
        self
    }
}
