use std::{convert::Infallible, fmt};

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
        let overrides = Overrides {
            ttl: self.timeout,
            grace: self.grace,
            codec: self.codec,
            keyspace: Some(self.label_or_name()),
        };
        let value = cache.load_through(&key, &overrides, self.revision, load).await;
        self.count(cache, !is_loaded && value.is_ok(), 1);
        value
    }
}
