use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::outcome::Loaded;
use crate::{
    timeout::{IntoTimeout, Timeout},
    value::{Decode, Form, Pipeline, Typed},
};

/// The view of a loader of [`Cache::fetch`](crate::Cache::fetch): the key, the old value, and what
/// to do with the new one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// # use cache_core::{Cache, Ttl, secs}; use cache_memory::Memory; use std::convert::Infallible;
/// # let cache = Cache::new("test", Memory::new());
/// let token: String = cache
///     .fetch("token")
///     .load(|context| async move {
///         let (token, seconds) = ("abc".to_owned(), 60); // from the source
///         context.ttl(secs(seconds));
///         Ok::<_, Infallible>(token)
///     })
///     .await?;
/// assert!(!cache.ttl("token").await?.unwrap().at_least(std::time::Duration::from_secs(70)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct LoadContext<V: Form = Typed> {
    key: Arc<str>,
    old: Option<Bytes>,
    values: Pipeline,
    orders: Arc<Mutex<Orders>>,
    form: PhantomData<V>,
}

/// The orders of a loader about its value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) ttl: Option<Timeout>,
    pub(crate) skip: bool,
}

impl<V: Form> LoadContext<V> {
    pub(crate) fn new(key: Arc<str>, old: Option<Bytes>, values: Pipeline) -> Self {
        Self { key, old, values, orders: Arc::default(), form: PhantomData }
    }

    /// Returns the key of the fetch.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the stored value that the load replaces: a stale one, or with
    /// [`force`](crate::Fetch::force) any. `None` without a stored value, and for a value that is
    /// not a `T`.
    pub fn stale<T>(&self) -> Option<T>
    where
        V: Decode<T>,
    {
        V::open(self.old.as_ref()?, &self.values).ok()
    }

    /// Sets the lifetime of the loaded value, instead of the fetch's `ttl`. It is not prolonged by
    /// jitter. A lifetime of zero removes the entry.
    pub fn ttl(&self, timeout: impl IntoTimeout) {
        self.lock().ttl = Some(timeout.into_timeout());
    }

    /// Returns the loaded value to the callers without storing it. An old value stays.
    pub fn skip(&self) {
        self.lock().skip = true;
    }

    /// Returns the answer that the source has no value, for
    /// [`Fetch::outcome`](crate::Fetch::outcome).
    pub fn absent<T>(&self) -> Loaded<T> {
        Loaded::Absent
    }

    /// Returns the answer that the [stored value](Self::stale) is still right, for
    /// [`Fetch::outcome`](crate::Fetch::outcome).
    pub fn not_modified<T>(&self) -> Loaded<T> {
        Loaded::NotModified
    }

    pub(crate) fn orders(&self) -> Orders {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does not print the value.
impl<V: Form> fmt::Debug for LoadContext<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadContext")
            .field("key", &self.key())
            .field("has_stale", &self.old.is_some())
            .finish_non_exhaustive()
    }
}
