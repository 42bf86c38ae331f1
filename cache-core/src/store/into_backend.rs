use std::sync::Arc;

use super::Backend;

/// A store that [`Cache::new`](crate::Cache::new) accepts: every [`Backend`], in an [`Arc`] or not.
///
/// A store that implements only [`SyncBackend`](super::SyncBackend) implements this by the adapter
/// that fits it:
///
/// ```
/// use cache_core::store::{Backend, IntoBackend};
/// use cache_memory::Memory;
/// use std::sync::Arc;
///
/// // In cache-memory: `Inline::new(self).into_backend()`.
/// let store: Arc<dyn Backend> = Memory::new().into_backend();
/// assert_eq!(store.name(), "memory");
/// ```
pub trait IntoBackend {
    /// Returns the store as a trait object.
    fn into_backend(self) -> Arc<dyn Backend>;
}

impl<B: Backend> IntoBackend for B {
    fn into_backend(self) -> Arc<dyn Backend> {
        Arc::new(self)
    }
}

impl<B: Backend> IntoBackend for Arc<B> {
    fn into_backend(self) -> Arc<dyn Backend> {
        self
    }
}

impl IntoBackend for Arc<dyn Backend> {
    fn into_backend(self) -> Arc<dyn Backend> {
        self
    }
}
