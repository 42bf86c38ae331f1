use std::borrow::Borrow;

use super::{BlockingKeyspace, KeyParts, Keyspace};
use crate::{
    cache::{BlockingCache, Cache},
    error::Result,
    value::Form,
};

impl<K: ?Sized, V> Keyspace<K, V> {
    /// Removes keys, and returns how many existed: see [`Cache::delete_many`].
    ///
    /// # Errors
    /// As [`Cache::delete_many`].
    ///
    /// # Cancel safety
    /// If the future is dropped, some keys may be removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// static NAMES: Keyspace<u64, String> = Keyspace::new("name");
    ///
    /// NAMES.set(&cache, &1, &"Ada".to_owned()).await?;
    /// assert_eq!(NAMES.delete_many(&cache, [1, 2]).await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn delete_many<Q, M, F>(
        &self,
        cache: &Cache<F>,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<u64>
    where
        Q: Borrow<K>,
        K: KeyParts<M>,
        F: Form,
    {
        self.check(cache)?;
        let keys = keys.into_iter().map(|it| self.key(Borrow::<K>::borrow(&it)));
        cache.delete_many(keys.collect::<Result<Vec<_>>>()?).await
    }
}

impl<K: ?Sized, V> BlockingKeyspace<'_, K, V> {
    /// Removes keys, and returns how many existed: see [`Keyspace::delete_many`].
    ///
    /// # Errors
    /// As [`Keyspace::delete_many`], and `Runtime`.
    pub fn delete_many<Q, M, F>(
        &self,
        cache: &BlockingCache<F>,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<u64>
    where
        Q: Borrow<K>,
        K: KeyParts<M>,
        F: Form,
    {
        cache.run(self.0.delete_many(cache.as_async(), keys))
    }
}
