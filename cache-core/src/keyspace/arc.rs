use std::{fmt, sync::Arc};

use super::{BlockingKeyspace, KeyParts, Keyspace, KeyspaceFetch};
use crate::{
    cache::{BlockingCache, ByArc, Cache, Fetch, on_a_thread},
    error::Result,
    fetch::{Fetched, LoadContext, Loaded},
    value::{Decode, Encode, Form, Typed},
};

/// A fetch of one shared value of a keyspace, from [`KeyspaceFetch::arc`].
#[must_use = "a fetch does nothing before `load`"]
#[derive(Debug)]
pub struct KeyspaceArcFetch<'a, V, F: Form = Typed>(KeyspaceFetch<'a, V, F>);

/// Shared values.
impl<K: ?Sized, V> Keyspace<K, V> {
    /// Returns the value of a key, shared: see [`Cache::get_arc`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory; use std::sync::Arc;
    /// # let cache = Cache::new("test", Memory::new());
    /// static ROLES: Keyspace<u64, Vec<String>> = Keyspace::new("roles");
    ///
    /// ROLES.set(&cache, &42, &vec!["admin".into()]).await?;
    /// let first = ROLES.get_arc(&cache, &42).await?.unwrap();
    /// assert!(Arc::ptr_eq(&first, &ROLES.get_arc(&cache, &42).await?.unwrap()));
    /// # Ok(()) }
    /// ```
    pub async fn get_arc<M, F>(&self, cache: &Cache<F>, key: &K) -> Result<Option<Arc<V>>>
    where
        K: KeyParts<M>,
        F: Decode<V>,
        V: Send + Sync + 'static,
    {
        let found = cache.get_arc(&self.key_for(cache, key)?).await?;
        self.count(cache, found.is_some(), 1);
        Ok(found)
    }
}

impl<'a, V, F: Form> KeyspaceFetch<'a, V, F> {
    /// Returns the same fetch of a shared value: see [`Fetch::arc`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory; use std::convert::Infallible;
    /// # let cache = Cache::new("test", Memory::new());
    /// static ROLES: Keyspace<u64, Vec<String>> = Keyspace::new("roles");
    ///
    /// let load = |_| async { Ok::<_, Infallible>(vec!["admin".to_owned()]) };
    /// assert_eq!(*ROLES.fetch(&cache, &42).arc().load(load).await?, ["admin"]);
    /// # Ok(()) }
    /// ```
    pub fn arc(self) -> KeyspaceArcFetch<'a, V, F> {
        KeyspaceArcFetch(self)
    }
}

impl<V, F: Form> KeyspaceArcFetch<'_, V, F> {
    /// Returns the value, shared: see [`KeyspaceFetch::load`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn load<E, L, R>(self, load: L) -> Result<Arc<V>>
    where
        F: Encode<V> + Decode<V>,
        V: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<V, E>> + Send + 'static,
    {
        let load = |context| async move { load(context).await.map(Loaded::Value) };
        let fetched = self.0.fetched::<ByArc, _, _, _>(false, load).await?;
        self.0.cache().required(fetched)
    }

    /// Returns the value, shared, or `None` if the source has none: see
    /// [`KeyspaceFetch::load_optional`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn load_optional<E, L, R>(self, load: L) -> Result<Option<Arc<V>>>
    where
        F: Encode<V> + Decode<V>,
        V: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        let load = |context| async move { load(context).await.map(Loaded::from) };
        self.0.fetched::<ByArc, _, _, _>(true, load).await.map(|it| it.value)
    }

    /// Returns the value, shared, and how it was found: see [`KeyspaceFetch::outcome`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn outcome<E, L, R>(self, load: L) -> Result<Fetched<Arc<V>>>
    where
        F: Encode<V> + Decode<V>,
        V: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        self.0.fetched::<ByArc, _, _, _>(true, load).await
    }
}

impl<K: ?Sized, V> BlockingKeyspace<'_, K, V> {
    /// Returns the value of a key, shared: see [`Keyspace::get_arc`].
    ///
    /// # Errors
    /// As [`Keyspace::get_arc`], and `Runtime`.
    pub fn get_arc<M, F>(&self, cache: &BlockingCache<F>, key: &K) -> Result<Option<Arc<V>>>
    where
        K: KeyParts<M>,
        F: Decode<V>,
        V: Send + Sync + 'static,
    {
        cache.run(self.0.get_arc(cache.as_async(), key))
    }

    /// Returns the value of a key, shared, or loads it as [`fetch`](Self::fetch) does: see
    /// [`KeyspaceFetch::arc`].
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    ///
    /// ```
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory; use std::convert::Infallible;
    /// # let cache = Cache::new("test", Memory::new()).blocking();
    /// static SQUARES: Keyspace<u64, u64> = Keyspace::new("square");
    ///
    /// let load = |_| Ok::<_, Infallible>(49);
    /// assert_eq!(*SQUARES.blocking().fetch_arc(&cache, &7, |fetch| fetch, load)?, 49);
    /// assert_eq!(SQUARES.blocking().get_arc(&cache, &7)?.as_deref(), Some(&49));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn fetch_arc<M, E, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        configure: impl for<'b> FnOnce(Fetch<'b, F>) -> Fetch<'b, F>,
        load: impl FnOnce(LoadContext<F>) -> Result<V, E> + Send + 'static,
    ) -> Result<Arc<V>>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        V: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let fetch = self.0.fetch(cache.as_async(), key).with(configure).arc();
        cache.run(fetch.load(|context| on_a_thread(|| load(context))))
    }
}
