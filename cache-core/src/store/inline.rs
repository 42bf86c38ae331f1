use std::sync::Arc;

use super::{Backend, SyncBackend, Views, forward};

/// A [`Backend`] that runs each call on the calling thread, for a store whose calls never wait.
///
/// The facade calls the store directly, without a future.
#[derive(Debug)]
pub struct Inline<B>(Arc<B>);

impl<B: SyncBackend> Inline<B> {
    /// Wraps `store`.
    pub fn new(store: B) -> Self {
        Self(Arc::new(store))
    }

    /// Wraps a store that is also used elsewhere.
    pub fn from_arc(store: Arc<B>) -> Self {
        Self(store)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: SyncBackend> Backend for Inline<B> {
    forward!(@inline self.0);

    fn views(self: Arc<Self>) -> Views {
        Views::none().with_sync(Arc::clone(&self.0) as _)
    }
}
