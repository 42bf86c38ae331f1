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
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) ttl: Option<Timeout>,
    pub(crate) skip: bool,
    pub(crate) revision: Option<u64>,
    pub(crate) tags: Vec<String>,
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

    /// Sets the revision of the loaded value, or of the answer that the source has no value: a row
    /// version, or a time of change as a number. The value is not stored if a newer revision is,
    /// see [`Cache::set_revision`](crate::Cache::set_revision).
    ///
    /// The fetch returns an error of kind `Config` if the cache does not have the setting
    /// [`revisions`](crate::CacheSettings::revisions).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory; use std::convert::Infallible;
    /// let cache = Cache::builder(Memory::new()).revisions(true).build("test")?;
    /// let load = |context: cache_core::LoadContext| async move {
    ///     let (name, version) = ("Ada".to_owned(), 7); // one row
    ///     context.revision(version);
    ///     Ok::<_, Infallible>(name)
    /// };
    /// assert_eq!(cache.fetch("user:1").load(load).await?, "Ada");
    /// assert!(!cache.set_revision("user:1", "Eve", 6, secs(60)).await?, "an older row");
    /// # Ok(()) }
    /// ```
    pub fn revision(&self, revision: u64) {
        self.lock().revision = Some(revision);
    }

    /// Sets the revision of the loaded value, unless the loader has set one.
    pub(crate) fn default_revision(&self, revision: u64) {
        self.lock().revision.get_or_insert(revision);
    }

    /// Adds a tag that is known only from the loaded value: see
    /// [`Cache::with_tags`](crate::Cache::with_tags).
    ///
    /// The value is stored only if this process knew the version of the tag before the load began,
    /// from an earlier read or write, because the tag may have been invalidated during the load.
    /// Otherwise the callers get the value, and the next load of this process can store it. Callers
    /// that begin to wait for this load after an invalidation of the tag get its value, too. So a
    /// tag that is known before the load belongs into [`Fetch::tags`](crate::Fetch::tags).
    ///
    /// On a cache without the setting `tags`, the load fails with an error of kind `Config`.
    pub fn tag(&self, name: impl Into<String>) {
        self.lock().tags.push(name.into());
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
        self.lock().clone()
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
