use std::sync::Arc;

use super::{Backend, Objects, SyncBackend, Views, forward};

/// A [`Backend`] that runs each call on the calling thread, for a store whose calls never wait.
///
/// The facade calls the store directly, without a future.
#[derive(Debug)]
pub struct Inline<B>(Arc<B>, Option<Arc<dyn Objects>>);

impl<B: SyncBackend> Inline<B> {
    /// Wraps `store`.
    pub fn new(store: B) -> Self {
        Self::from_arc(Arc::new(store))
    }

    /// Wraps a store that is also used elsewhere.
    pub fn from_arc(store: Arc<B>) -> Self {
        Self(store, None)
    }

    /// Offers the decoded values that the store keeps beside its bytes.
    #[must_use]
    pub fn with_objects(self) -> Self
    where
        B: Objects,
    {
        let objects = Arc::clone(&self.0) as _;
        Self(self.0, Some(objects))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: SyncBackend> Backend for Inline<B> {
    forward!(@inline self.0);

    fn views(self: Arc<Self>) -> Views {
        let views = Views::none().with_sync(Arc::clone(&self.0) as _);
        match &self.1 {
            Some(objects) => views.with_objects(Arc::clone(objects)),
            None => views,
        }
    }
}
