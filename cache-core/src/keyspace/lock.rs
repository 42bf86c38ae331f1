use super::{BlockingKeyspace, KeyParts, Keyspace};
use crate::{
    cache::{BlockingCache, BlockingLock, Cache, Lock, LockRequest},
    error::Result,
    timeout::IntoTimeout,
    value::Form,
};

/// Locks with the keys of the keyspace as names.
impl<K: ?Sized, V> Keyspace<K, V> {
    /// Acquires the lock of a key as [`Cache::lock`] and [`acquire`](LockRequest::acquire) do.
    /// `settings` sets how long to wait, and whether to renew the lock. The lock is separate from
    /// the entry of the key.
    ///
    /// # Errors
    /// As [`LockRequest::acquire`], and `InvalidKey` if the `Display` of a part fails.
    ///
    /// # Cancel safety
    /// As [`LockRequest::acquire`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// static USERS: Keyspace<u64, String> = Keyspace::new("user");
    ///
    /// let lock = USERS.lock(&cache, &7, secs(30), |it| it.renew()).await?;
    /// assert!(USERS.try_lock(&cache, &7, secs(30)).await?.is_none());
    /// assert!(USERS.try_lock(&cache, &8, secs(30)).await?.is_some());
    /// assert!(lock.release().await?);
    /// # Ok(()) }
    /// ```
    pub async fn lock<M, F>(
        &self,
        cache: &Cache<F>,
        key: &K,
        lease: impl IntoTimeout,
        settings: impl FnOnce(LockRequest<'_, F>) -> LockRequest<'_, F>,
    ) -> Result<Lock>
    where
        K: KeyParts<M>,
        F: Form,
    {
        let name = self.key(key)?;
        settings(cache.lock(&name, lease)).acquire().await
    }

    /// Acquires the lock of a key if it is free: see [`Cache::try_lock`].
    ///
    /// # Errors
    /// As [`lock`](Self::lock), without the wait.
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn try_lock<M, F>(
        &self,
        cache: &Cache<F>,
        key: &K,
        lease: impl IntoTimeout,
    ) -> Result<Option<Lock>>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.try_lock(&self.key(key)?, lease).await
    }
}

impl<K: ?Sized, V> BlockingKeyspace<'_, K, V> {
    /// Acquires the lock of a key: see [`Keyspace::lock`].
    ///
    /// # Errors
    /// As [`Keyspace::lock`], and `Runtime`.
    pub fn lock<M, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        lease: impl IntoTimeout,
        settings: impl FnOnce(LockRequest<'_, F>) -> LockRequest<'_, F>,
    ) -> Result<BlockingLock>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.lock(&self.0.key(key)?, lease, settings)
    }

    /// Acquires the lock of a key if it is free: see [`Keyspace::try_lock`].
    ///
    /// # Errors
    /// As [`Keyspace::try_lock`], and `Runtime`.
    pub fn try_lock<M, F>(
        &self,
        cache: &BlockingCache<F>,
        key: &K,
        lease: impl IntoTimeout,
    ) -> Result<Option<BlockingLock>>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.try_lock(&self.0.key(key)?, lease)
    }
}
