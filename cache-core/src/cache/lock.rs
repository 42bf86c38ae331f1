//! Locks that the processes of a store share.

mod blocking;
mod held;
mod lease;
mod store;

use std::{fmt, time::Duration};

pub(super) use self::held::runtime_of;
pub use self::{blocking::BlockingLock, held::Lock};
use super::Cache;
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    runtime::jitter,
    timeout::{IntoTimeout, Timeout},
    value::{Form, Typed},
};

/// The limits of the wait between two tries. Each wait lasts between half of its limit and all of
/// it, so that processes that wait for one lock do not try together.
const FIRST_WAIT: Duration = Duration::from_millis(4);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// A lock to acquire, from [`Cache::lock`].
#[must_use = "nothing is locked before `acquire`"]
pub struct LockRequest<'a, V: Form = Typed> {
    cache: &'a Cache<V>,
    name: &'a str,
    lease: Timeout,
    wait: Option<Duration>,
    renew: bool,
}

/// Locks that the processes of a store share.
impl<V: Form> Cache<V> {
    /// Begins to acquire the lock `name`: at most one owner at a time has it, among all processes
    /// that use this store, `key_prefix` and key version.
    ///
    /// The lock ends by itself after `lease`, so that a crashed owner does not keep it forever. An
    /// owner that works for longer [extends](Lock::extend) or [renews](LockRequest::renew) it.
    /// Locks are separate from the entries of the cache, and an owner cannot acquire a lock that it
    /// already has.
    ///
    /// A lock of a cache avoids double work. It cannot guarantee exclusion: the owner may be paused
    /// for longer than its lease, and a store may evict the lock, lose it in a failover, or be
    /// cleared. Where a second owner would do harm, pass [`Lock::number`] to the resource, and let
    /// it refuse numbers that are smaller than the largest it has seen.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let lock = cache.lock("nightly-report", secs(30)).acquire().await?;
    /// assert!(cache.try_lock("nightly-report", secs(30)).await?.is_none());
    /// // … the work …
    /// assert!(lock.release().await?, "it was held to the end");
    /// # Ok(()) }
    /// ```
    pub fn lock<'a>(&'a self, name: &'a str, lease: impl IntoTimeout) -> LockRequest<'a, V> {
        let lease = lease.into_timeout();
        LockRequest { cache: self, name, lease, wait: None, renew: false }
    }

    /// Acquires the lock `name` for the time of `lease` if it is free, see [`lock`](Self::lock).
    /// Returns `None` if it has an owner.
    ///
    /// # Errors
    /// As [`LockRequest::acquire`].
    ///
    /// # Cancel safety
    /// As [`LockRequest::acquire`].
    pub async fn try_lock(&self, name: &str, lease: impl IntoTimeout) -> Result<Option<Lock>> {
        self.lock(name, lease).try_acquire().await
    }
}

impl<V: Form> LockRequest<'_, V> {
    /// Sets how long [`acquire`](Self::acquire) waits for another owner. Without it, the wait lasts
    /// as long as the lease.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Extends the lock by its lease each time a third of it has passed, until the lock is released
    /// or dropped.
    ///
    /// The renewal runs as a task of the caller's runtime, and of a runtime of the library for
    /// [blocking](Cache::blocking) calls. If the store fails, it tries again until the lease ends.
    pub const fn renew(mut self) -> Self {
        self.renew = true;
        self
    }

    /// Acquires the lock, and waits while it has another owner. Owners are not served in the order
    /// of their calls.
    ///
    /// # Errors
    /// Never fails open. `Locked` if the lock had another owner until the end of the wait.
    /// `Config` if the lease is zero or has no end.
    ///
    /// # Cancel safety
    /// If the future is dropped, a lock that it may have acquired is released in the background, as
    /// when a [`Lock`] is dropped.
    pub async fn acquire(self) -> Result<Lock> {
        let clock = &self.cache.shared.clock;
        let (key, lease) = self.checked()?;
        let end = clock.now().saturating_add(self.wait.unwrap_or(lease));
        let mut longest = FIRST_WAIT;
        loop {
            if let Some(lock) = self.once(&key, lease).await? {
                return Ok(lock);
            }
            let left = end.saturating_sub(clock.now());
            if left.is_zero() {
                // Each try was counted.
                return Err(self.cache.in_context(has_an_owner(), Operation::Lock, Some(&key)));
            }
            let wait = longest / 2 + jitter(longest / 2);
            clock.sleep(wait.min(left)).await;
            longest = longest.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    /// Acquires the lock if it is free. Returns `None` if it has an owner.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), without the wait.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(self) -> Result<Option<Lock>> {
        let (key, lease) = self.checked()?;
        self.once(&key, lease).await
    }

    async fn once(&self, key: &FullKey, lease: Duration) -> Result<Option<Lock>> {
        let res = self.cache.take_lock(key, lease).await;
        let lock = self.cache.answer(Operation::Lock, Some(key), res)?;
        match lock {
            Some(lock) if self.renew => {
                let res = lock.renewed(lease).map(Some);
                res.map_err(|error| self.cache.fail(Operation::Lock, Some(key), error))
            }
            lock => Ok(lock),
        }
    }

    fn checked(&self) -> Result<(FullKey, Duration)> {
        let shared = &self.cache.shared;
        let refuse = |error| self.cache.refuse(Operation::Lock, error);
        let mut key = FullKey::new();
        let head = self.cache.head_of_locks();
        head.key(&shared.keys, self.name, &mut key).map_err(refuse)?;
        let lease = lease::checked(self.lease, shared.timeout, &shared.clock).map_err(refuse)?;
        Ok((key, lease))
    }
}

#[expect(clippy::expl_impl_clone_on_copy, reason = "a derive would demand it of the form")]
impl<V: Form> Clone for LockRequest<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Form> Copy for LockRequest<'_, V> {}

impl<V: Form> fmt::Debug for LockRequest<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockRequest")
            .field("alias", &self.cache.alias())
            .field("name", &self.name)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cold]
fn has_an_owner() -> Error {
    let what = "the lock has another owner, which did not release it within the wait";
    Error::new(ErrorKind::Locked, what)
}
