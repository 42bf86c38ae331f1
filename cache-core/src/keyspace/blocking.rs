use std::{borrow::Borrow, collections::HashMap, fmt, future::ready, hash::Hash};

use super::{KeyParts, Keyspace};
use crate::{
    cache::{BlockingCache, Failures, Fetch, on_a_thread},
    error::Result,
    fetch::{Fetched, LoadContext, Loaded},
    timeout::{IntoTimeout, Ttl},
    value::{Decode, Encode, Form},
};

/// A keyspace for handles without async: see [`Keyspace::blocking`].
///
/// Each method follows the rules of the method of [`Keyspace`] with the same name. A loader is a
/// plain closure.
///
/// # Errors
/// Every method also returns `Runtime` on a thread that runs async tasks.
pub struct BlockingKeyspace<'a, K: ?Sized, V>(pub(super) &'a Keyspace<K, V>);

impl<K: ?Sized, V> Keyspace<K, V> {
    /// Returns the same keyspace for handles without async.
    ///
    /// ```
    /// # use cache_core::{Cache, Keyspace, secs}; use cache_memory::Memory;
    /// static SQUARES: Keyspace<u64, u64> = Keyspace::new("square").ttl(secs(60));
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// assert_eq!(SQUARES.blocking().get_or_set(&cache, &7, || 49)?, 49);
    /// assert_eq!(SQUARES.blocking().get(&cache, &7)?, Some(49));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub const fn blocking(&self) -> BlockingKeyspace<'_, K, V> {
        BlockingKeyspace(self)
    }
}

impl<K: ?Sized, V> BlockingKeyspace<'_, K, V> {
    /// Returns the value of a key: see [`Keyspace::get`].
    ///
    /// # Errors
    /// As [`Keyspace::get`], and `Runtime`.
    pub fn get<M, F>(&self, cache: &BlockingCache<F>, key: &K) -> Result<Option<V>>
    where
        K: KeyParts<M>,
        F: Decode<V>,
    {
        cache.run(self.0.get(cache.as_async(), key))
    }

    /// Returns the values of the keys that exist: see [`Keyspace::get_many`].
    ///
    /// # Errors
    /// As [`Keyspace::get_many`], and `Runtime`.
    pub fn get_many<Q, M, F>(
        &self,
        cache: &BlockingCache<F>,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash,
        K: KeyParts<M>,
        F: Decode<V>,
    {
        cache.run(self.0.get_many(cache.as_async(), keys))
    }

    /// Stores a value: see [`Keyspace::set`].
    ///
    /// # Errors
    /// As [`Keyspace::set`], and `Runtime`.
    pub fn set<M, F>(&self, cache: &BlockingCache<F>, key: &K, value: &V) -> Result<()>
    where
        K: KeyParts<M>,
        F: Encode<V>,
    {
        cache.run(self.0.set(cache.as_async(), key, value))
    }

    /// Stores several values: see [`Keyspace::set_many`].
    ///
    /// # Errors
    /// As [`Keyspace::set_many`], and `Runtime`.
    pub fn set_many<Q, W, M, F>(
        &self,
        cache: &BlockingCache<F>,
        items: impl IntoIterator<Item = (Q, W)>,
    ) -> Result<Failures>
    where
        Q: Borrow<K>,
        F: Encode<W>,
        W: Borrow<V>,
        K: KeyParts<M>,
    {
        cache.run(self.0.set_many(cache.as_async(), items))
    }

    /// Stores a value with a revision: see [`Keyspace::set_revision`].
    ///
    /// # Errors
    /// As [`Keyspace::set_revision`], and `Runtime`.
    pub fn set_revision<M, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        value: &V,
        revision: u64,
    ) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Encode<V>,
    {
        cache.run(self.0.set_revision(cache.as_async(), key, value, revision))
    }

    /// Removes a key, unless a newer revision is stored, and keeps older values out: see
    /// [`Keyspace::delete_revision`].
    ///
    /// # Errors
    /// As [`Keyspace::delete_revision`], and `Runtime`.
    pub fn delete_revision<M, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        revision: u64,
        floor: impl IntoTimeout,
    ) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.run(self.0.delete_revision(cache.as_async(), key, revision, floor))
    }

    /// Removes a key: see [`Keyspace::delete`].
    ///
    /// # Errors
    /// As [`Keyspace::delete`], and `Runtime`.
    pub fn delete<M, F>(&self, cache: &BlockingCache<F>, key: &K) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.run(self.0.delete(cache.as_async(), key))
    }

    /// Returns the remaining lifetime of a key: see [`Keyspace::ttl_of`].
    ///
    /// # Errors
    /// As [`Keyspace::ttl_of`], and `Runtime`.
    pub fn ttl_of<M, F>(&self, cache: &BlockingCache<F>, key: &K) -> Result<Option<Ttl>>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.run(self.0.ttl_of(cache.as_async(), key))
    }

    /// Returns whether a key exists: see [`Keyspace::has_key`].
    ///
    /// # Errors
    /// As [`Keyspace::has_key`], and `Runtime`.
    pub fn has_key<M, F>(&self, cache: &BlockingCache<F>, key: &K) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.run(self.0.has_key(cache.as_async(), key))
    }

    /// Returns the value of a key, or loads and stores it: see [`Keyspace::get_or_set`].
    ///
    /// # Errors
    /// As [`Keyspace::get_or_set`], and `Runtime`.
    pub fn get_or_set<M, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        load: impl FnOnce() -> V,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
    {
        cache.run(self.0.get_or_set(cache.as_async(), key, || async { load() }))
    }

    /// Returns the value of a key, or loads it with a loader that can fail: see
    /// [`Keyspace::get_or_try_set`].
    ///
    /// # Errors
    /// As [`Keyspace::get_or_try_set`], and `Runtime`.
    pub fn get_or_try_set<M, E, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        cache.run(self.0.get_or_try_set(cache.as_async(), key, || async { load() }))
    }

    /// Returns the values of keys, or loads all that are missing with one call of `load`: see
    /// [`Keyspace::get_or_set_many`].
    ///
    /// # Errors
    /// As [`Keyspace::get_or_set_many`], and `Runtime`.
    pub fn get_or_set_many<Q, M, R, F>(
        &self,
        cache: &BlockingCache<F>,
        keys: impl IntoIterator<Item = Q>,
        mut load: impl FnMut(Vec<Q>) -> R,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash + Clone,
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        R: IntoIterator<Item = (Q, V)>,
    {
        let load = |missing| ready(load(missing));
        cache.run(self.0.get_or_set_many(cache.as_async(), keys, load))
    }

    /// Returns the values of keys, or loads them with a loader that can fail: see
    /// [`Keyspace::get_or_try_set_many`].
    ///
    /// # Errors
    /// As [`Keyspace::get_or_try_set_many`], and `Runtime`.
    pub fn get_or_try_set_many<Q, M, E, R, F>(
        &self,
        cache: &BlockingCache<F>,
        keys: impl IntoIterator<Item = Q>,
        mut load: impl FnMut(Vec<Q>) -> Result<R, E>,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash + Clone,
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (Q, V)>,
    {
        let load = |missing| ready(load(missing));
        cache.run(self.0.get_or_try_set_many(cache.as_async(), keys, load))
    }

    /// Returns the value of a key, or loads it in the background of this process: see
    /// [`Keyspace::fetch`] and [`BlockingCache::fetch`]. `configure` changes the rules of the fetch
    /// that the keyspace does not declare.
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
    /// assert_eq!(SQUARES.blocking().fetch(&cache, &7, |fetch| fetch, load)?, 49);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn fetch<M, E, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        configure: impl for<'b> FnOnce(Fetch<'b, F>) -> Fetch<'b, F>,
        load: impl FnOnce(LoadContext<F>) -> Result<V, E> + Send + 'static,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        V: Send + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let fetch = self.0.fetch(cache.as_async(), key).with(configure);
        cache.run(fetch.load(|context| on_a_thread(|| load(context))))
    }

    /// Returns the value of a key as [`fetch`](Self::fetch) does, or `None` if the source has none:
    /// see [`KeyspaceFetch::load_optional`](super::KeyspaceFetch::load_optional).
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    pub fn fetch_optional<M, E, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        configure: impl for<'b> FnOnce(Fetch<'b, F>) -> Fetch<'b, F>,
        load: impl FnOnce(LoadContext<F>) -> Result<Option<V>, E> + Send + 'static,
    ) -> Result<Option<V>>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        V: Send + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let fetch = self.0.fetch(cache.as_async(), key).with(configure);
        cache.run(fetch.load_optional(|context| on_a_thread(|| load(context))))
    }

    /// Returns the value of a key as [`fetch`](Self::fetch) does, and how it was found: see
    /// [`KeyspaceFetch::outcome`](super::KeyspaceFetch::outcome).
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    pub fn fetch_outcome<M, E, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        configure: impl for<'b> FnOnce(Fetch<'b, F>) -> Fetch<'b, F>,
        load: impl FnOnce(LoadContext<F>) -> Result<Loaded<V>, E> + Send + 'static,
    ) -> Result<Fetched<V>>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        V: Send + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let fetch = self.0.fetch(cache.as_async(), key).with(configure);
        cache.run(fetch.outcome(|context| on_a_thread(|| load(context))))
    }

    /// Stores a value that comes from elsewhere, with the lifetime and the grace of the keyspace:
    /// see [`KeyspaceFetch::prime`](super::KeyspaceFetch::prime).
    ///
    /// # Errors
    /// As [`KeyspaceFetch::prime`](super::KeyspaceFetch::prime), and `Runtime`.
    ///
    /// ```
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new()).blocking();
    /// static SQUARES: Keyspace<u64, u64> = Keyspace::new("square");
    ///
    /// SQUARES.blocking().prime(&cache, &7, |fetch| fetch, &49)?;
    /// assert_eq!(SQUARES.blocking().get(&cache, &7)?, Some(49));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn prime<M, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        configure: impl for<'b> FnOnce(Fetch<'b, F>) -> Fetch<'b, F>,
        value: &V,
    ) -> Result<()>
    where
        K: KeyParts<M>,
        F: Encode<V>,
    {
        cache.run(self.0.fetch(cache.as_async(), key).with(configure).prime(value))
    }
}

impl<K: ?Sized, V> fmt::Debug for BlockingKeyspace<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingKeyspace").field(self.0).finish()
    }
}
