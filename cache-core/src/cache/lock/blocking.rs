//! Locks without async.

use super::{Lock, LockRequest};
use crate::{cache::BlockingCache, error::Result, timeout::IntoTimeout, value::Form};

/// A [`Lock`] without async, from [`BlockingCache::lock`].
#[derive(Debug)]
pub struct BlockingLock {
    lock: Lock,
    cache: BlockingCache,
}

impl<V: Form> BlockingCache<V> {
    /// Acquires a lock as [`Cache::lock`] and [`acquire`](LockRequest::acquire) do. `settings` sets
    /// how long to wait, and whether to renew the lock.
    ///
    /// ```
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # use std::time::Duration;
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// let lock = cache.lock("import", secs(30), |it| it.wait(Duration::from_secs(5)).renew())?;
    /// assert!(cache.try_lock("import", secs(30))?.is_none());
    /// assert!(lock.release()?);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LockRequest::acquire`], and `Runtime`.
    ///
    /// [`Cache::lock`]: crate::Cache::lock
    pub fn lock(
        &self,
        name: &str,
        lease: impl IntoTimeout,
        settings: impl FnOnce(LockRequest<'_, V>) -> LockRequest<'_, V>,
    ) -> Result<BlockingLock> {
        let lock = self.run(settings(self.as_async().lock(name, lease)).acquire())?;
        Ok(BlockingLock { lock, cache: self.in_form() })
    }

    /// Acquires a lock if it is free: see [`Cache::try_lock`](crate::Cache::try_lock).
    ///
    /// # Errors
    /// As [`LockRequest::try_acquire`], and `Runtime`.
    pub fn try_lock(&self, name: &str, lease: impl IntoTimeout) -> Result<Option<BlockingLock>> {
        let lock = self.run(self.as_async().try_lock(name, lease))?;
        Ok(lock.map(|lock| BlockingLock { lock, cache: self.in_form() }))
    }
}

impl BlockingLock {
    /// Returns whether another process may own the lock: see [`Lock::is_lost`].
    pub fn is_lost(&self) -> bool {
        self.lock.is_lost()
    }

    /// Makes the lock end after `lease` from now: see [`Lock::extend`].
    ///
    /// # Errors
    /// As [`Lock::extend`], and `Runtime`.
    pub fn extend(&self, lease: impl IntoTimeout) -> Result<bool> {
        self.cache.run(self.lock.extend(lease))
    }

    /// Returns the fencing number: see [`Lock::number`].
    ///
    /// # Errors
    /// As [`Lock::number`], and `Runtime`.
    pub fn number(&self) -> Result<Option<i64>> {
        self.cache.run(self.lock.number())
    }

    /// Releases the lock: see [`Lock::release`].
    ///
    /// # Errors
    /// As [`Lock::release`], and `Runtime`.
    pub fn release(self) -> Result<bool> {
        self.cache.run(self.lock.release())
    }
}
