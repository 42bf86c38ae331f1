use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    hash::Hash,
};

use super::{KeyParts, Keyspace};
use crate::{
    cache::Cache,
    error::Result,
    fetch::Overrides,
    value::{Decode, Encode},
};

/// Reads through.
impl<K: ?Sized, V> Keyspace<K, V> {
    /// Returns the value of a key, or loads and stores it: see [`Cache::get_or_set`].
    ///
    /// # Errors
    /// As [`Cache::get_or_set`].
    ///
    /// # Cancel safety
    /// As [`Cache::get_or_set`].
    pub async fn get_or_set<M, L, F>(
        &self,
        cache: &Cache<F>,
        key: &K,
        load: impl FnOnce() -> L,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        L: Future<Output = V>,
    {
        self.get_or_try_set(cache, key, || async { Ok::<V, Infallible>(load().await) }).await
    }

    /// Returns the value of a key, or loads it with a loader that can fail: see
    /// [`Cache::get_or_try_set`].
    ///
    /// # Errors
    /// As [`Cache::get_or_try_set`].
    ///
    /// # Cancel safety
    /// As [`Cache::get_or_try_set`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// static ANSWERS: Keyspace<str, u32> = Keyspace::new("answer");
    ///
    /// assert!(ANSWERS.get_or_try_set(&cache, "q", || async { "42!".parse::<u32>() }).await.is_err());
    /// let answer = ANSWERS.get_or_try_set(&cache, "q", || async { "42".parse::<u32>() }).await?;
    /// assert_eq!(answer, 42);
    /// # Ok(()) }
    /// ```
    pub async fn get_or_try_set<M, E, L, F>(
        &self,
        cache: &Cache<F>,
        key: &K,
        load: impl FnOnce() -> L,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: Future<Output = Result<V, E>>,
    {
        let key = self.key_for(cache, key)?;
        let mut is_loaded = false;
        let load = || {
            is_loaded = true;
            load()
        };
        let value = cache.load_through(&key, &self.overrides(), self.revision, load).await;
        self.count(cache, !is_loaded && value.is_ok(), 1);
        value
    }

    /// Returns the values of keys, or loads all that are missing with one call of `load`: see
    /// [`Cache::get_or_set_many`].
    ///
    /// # Errors
    /// As [`Cache::get_or_set_many`].
    ///
    /// # Cancel safety
    /// As [`Cache::get_or_set_many`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// static SQUARES: Keyspace<u64, u64> = Keyspace::new("square").ttl(secs(60));
    ///
    /// SQUARES.set(&cache, &2, &4).await?;
    /// let squares = SQUARES
    ///     .get_or_set_many(&cache, [2, 3], |missing| async move {
    ///         assert_eq!(missing, [3]);
    ///         [(3, 9)] // from one query
    ///     })
    ///     .await?;
    /// assert_eq!(squares, [(2, 4), (3, 9)].into());
    /// assert_eq!(SQUARES.get(&cache, &3).await?, Some(9));
    /// # Ok(()) }
    /// ```
    pub async fn get_or_set_many<Q, M, R, L, F>(
        &self,
        cache: &Cache<F>,
        keys: impl IntoIterator<Item = Q>,
        mut load: impl FnMut(Vec<Q>) -> L,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash + Clone,
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        R: IntoIterator<Item = (Q, V)>,
        L: Future<Output = R>,
    {
        let load = |missing| {
            let load = load(missing);
            async { Ok::<R, Infallible>(load.await) }
        };
        self.get_or_try_set_many(cache, keys, load).await
    }

    /// Returns the values of keys, as [`get_or_set_many`](Self::get_or_set_many) does, with a
    /// loader that can fail: see [`Cache::get_or_try_set_many`].
    ///
    /// # Errors
    /// As [`Cache::get_or_try_set_many`].
    ///
    /// # Cancel safety
    /// As [`Cache::get_or_set_many`].
    pub async fn get_or_try_set_many<Q, M, E, R, L, F>(
        &self,
        cache: &Cache<F>,
        keys: impl IntoIterator<Item = Q>,
        mut load: impl FnMut(Vec<Q>) -> L,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash + Clone,
        K: KeyParts<M>,
        F: Encode<V> + Decode<V>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (Q, V)>,
        L: Future<Output = Result<R, E>>,
    {
        self.check(cache)?;
        let keys: Vec<Q> = keys.into_iter().collect();
        let names = keys.iter().map(|it| self.key(Borrow::<K>::borrow(it)));
        let names: Vec<String> = names.collect::<Result<_>>()?;
        let asked = keys.iter().collect::<HashSet<_>>().len();
        let mut loaded = 0;
        let mut load = |missing: Vec<Q>| {
            loaded += missing.len();
            load(missing)
        };
        let overrides = self.overrides();
        let found =
            cache.load_many_through(&keys, &names, &overrides, self.revision, &mut load).await;
        // A load whose caller left may have been repeated here.
        let hits = if found.is_ok() { asked.saturating_sub(loaded) } else { 0 };
        self.count(cache, true, hits);
        self.count(cache, false, asked - hits);
        found
    }

    /// Returns the rules of the keyspace for a load without a task.
    fn overrides(&self) -> Overrides {
        Overrides {
            ttl: self.timeout,
            grace: self.grace,
            codec: self.codec,
            keyspace: Some(self.label_or_name()),
            force: false,
        }
    }
}
