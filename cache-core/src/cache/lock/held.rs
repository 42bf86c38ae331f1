use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{OnceCell, watch},
    task::AbortHandle,
};

use super::lease;
use crate::{
    cache::Cache,
    error::Result,
    key::{FullKey, KeyHead},
    layer::Operation,
    runtime::{self, first, random},
    store::Expected,
    timeout::IntoTimeout,
};

/// A lock that this process owns, from [`LockRequest::acquire`](crate::lock::LockRequest::acquire).
///
/// # When it is dropped
/// [`release`](Self::release) reports whether the lock was held to the end. Without it, dropping
/// the lock releases it in the background, on the runtime of the caller, or on a runtime of the
/// library outside of one. If the process ends first, or the store fails, the lock ends with its
/// lease.
pub struct Lock {
    held: Arc<Held>,
    renewal: Option<AbortHandle>,
}

/// The part of a lock that its renewal shares.
struct Held {
    cache: Cache,
    key: FullKey,
    /// Only this owner knows it.
    token: Bytes,
    /// The moment of the cache's clock at which the lease ends. Zero: the lock is lost or released.
    until: watch::Sender<Duration>,
    number: OnceCell<i64>,
}

impl Lock {
    /// Creates a lock that is about to be written for the time of `lease`.
    pub(super) fn new(cache: Cache, key: FullKey, lease: Duration) -> Self {
        // Counted from before the request: the store counts from later on, so the lock never ends
        // before its owner knows.
        let until = watch::Sender::new(cache.shared.clock.now().saturating_add(lease));
        let held = Held { cache, key, token: token(), until, number: OnceCell::new() };
        Self { held: Arc::new(held), renewal: None }
    }

    pub(super) fn token(&self) -> Bytes {
        self.held.token.clone()
    }

    /// Begins the renewals.
    pub(super) fn renewed(mut self, lease: Duration) -> Result<Self> {
        let runtime = runtime_of(&self.held.cache)?;
        let renewals = runtime.spawn(renew(Arc::clone(&self.held), lease));
        self.renewal = Some(renewals.abort_handle());
        Ok(self)
    }

    /// Ends the lock for this process.
    pub(super) fn end(&self) {
        self.held.until.send_replace(Duration::ZERO);
    }

    /// Returns whether another process may own the lock: its lease has ended, or an extension or a
    /// renewal found it deleted. A lost lock stays lost.
    ///
    /// `false` does not prove that the lock is still in the store. The lease is counted by a clock
    /// that stands still while the machine is suspended.
    pub fn is_lost(&self) -> bool {
        self.held.is_lost()
    }

    /// Waits until the lock [is lost](Self::is_lost).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # async fn work() -> u32 { 42 }
    /// # let cache = Cache::new("test", Memory::new());
    /// let lock = cache.lock("import", secs(30)).renew().acquire().await?;
    /// let done = tokio::select! {
    ///     it = work() => Some(it),
    ///     () = lock.lost() => None,
    /// };
    /// assert_eq!(done, Some(42));
    /// # Ok(()) }
    /// ```
    pub async fn lost(&self) {
        let clock = &self.held.cache.shared.clock;
        let mut until = self.held.until.subscribe();
        loop {
            let left = until.borrow_and_update().saturating_sub(clock.now());
            if left.is_zero() {
                return;
            }
            first(until.changed(), clock.sleep(left)).await;
        }
    }

    /// Makes the lock end after `lease` from now. Returns `false` if the lock is lost.
    ///
    /// # Errors
    /// Never fails open. After an error the lock ends at the sooner of both moments. `Config` if
    /// the lease is zero or has no end.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lock may end at either moment in the store.
    pub async fn extend(&self, lease: impl IntoTimeout) -> Result<bool> {
        let cache = &self.held.cache;
        let lease = lease::checked(lease.into_timeout(), cache.shared.timeout, &cache.shared.clock)
            .map_err(|error| cache.refuse(Operation::Lock, error))?;
        let res = self.held.extend(lease).await;
        cache.answer(Operation::Lock, Some(&self.held.key), res)
    }

    /// Returns the fencing number of this lock: larger than the numbers of all earlier owners.
    /// Returns `None` if the lock is lost.
    ///
    /// A resource that remembers the largest number can refuse a former owner that was paused
    /// (Kleppmann, "How to do distributed locking", 2016). The first call of an owner counts in the
    /// store and verifies that the store still has the lock; later calls return the same number.
    /// The store keeps the count for a day from its first number. A count that expired, was evicted
    /// or cleared begins again at the microseconds of the wall clock: it is larger too, if the
    /// clocks of the machines differ by less than the time since.
    ///
    /// # Errors
    /// Never fails open.
    ///
    /// # Cancel safety
    /// If the future is dropped, a number may be left out.
    pub async fn number(&self) -> Result<Option<i64>> {
        let Held { cache, key, token, number, .. } = &*self.held;
        let count = || async {
            let number = KeyHead::number_of_lock(&cache.shared.namespace, key);
            let number = cache.count_lock(&number).await?;
            // The store may have lost the lock. A successor that counted before would then have the
            // smaller number.
            if !cache.has_lock(key, token).await? {
                self.end();
            }
            Ok(number)
        };
        let res = number.get_or_try_init(count).await.copied();
        let number = cache.answer(Operation::Lock, Some(key), res)?;
        // Nor may an owner have a number that was paused before it counted.
        Ok((!self.is_lost()).then_some(number))
    }

    /// Releases the lock. Returns `false` if it was lost before.
    ///
    /// # Errors
    /// Never fails open. After an error the lock ends with its lease, or sooner.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lock is released in the background, as when the lock is
    /// dropped.
    pub async fn release(mut self) -> Result<bool> {
        let res = self.delete().await;
        self.held.cache.answer(Operation::Lock, Some(&self.held.key), res)
    }

    /// Releases the lock, without the count of a caller's operation.
    pub(in crate::cache) async fn delete(&mut self) -> Result<bool> {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        let was_lost = self.is_lost();
        let deleted = self.held.cache.release_lock(&self.held.key, &self.held.token).await?;
        self.end();
        Ok(deleted && !was_lost)
    }
}

impl Held {
    fn is_lost(&self) -> bool {
        *self.until.borrow() <= self.cache.shared.clock.now()
    }

    /// Extends the lock. Returns `false` if it is lost.
    async fn extend(&self, lease: Duration) -> Result<bool> {
        let end = self.cache.shared.clock.now().saturating_add(lease);
        if self.is_lost() {
            return Ok(false);
        }
        let res = self.cache.extend_lock(&self.key, &self.token, lease).await;
        self.until.send_modify(|until| {
            *until = match res {
                // It was lost during the call, and stays lost. The store may have extended it, so
                // dropping it still releases it.
                _ if *until <= self.cache.shared.clock.now() => *until,
                Ok(true) => end,
                Ok(false) => Duration::ZERO,
                // The store may have the new end.
                Err(_) => end.min(*until),
            }
        });
        res.map(|_| !self.is_lost())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        // Also after the end of the lease: the store counts it from a later moment.
        if self.held.until.send_replace(Duration::ZERO).is_zero() {
            return;
        }
        // If the store fails or no runtime can start, the lock ends with its lease.
        let held = Arc::clone(&self.held);
        if let Some(store) = &held.cache.shared.sync {
            let _ = store.compare_and_delete(&held.key, Expected::value(&held.token));
        } else if let Ok(runtime) = runtime_of(&held.cache) {
            let release =
                async move { held.cache.release_lock(&held.key, &held.token).await.is_ok() };
            runtime.spawn(release);
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("key", &self.held.key.as_str())
            .field("is_lost", &self.is_lost())
            .field("renews", &self.renewal.is_some())
            .finish()
    }
}

/// Extends a lock while its owner works.
async fn renew(held: Arc<Held>, lease: Duration) {
    let mut wait = lease / 3;
    loop {
        held.cache.shared.clock.sleep(wait).await;
        wait = match held.extend(lease).await {
            Ok(true) => lease / 3,
            Ok(false) => return,
            // Several tries fit into the rest of the lease.
            Err(_) => lease / 12,
        };
    }
}

/// Returns the runtime for what a dropped lock or lease leaves to do: the caller's, if its handle
/// uses it.
pub(in crate::cache) fn runtime_of(cache: &Cache) -> Result<Handle> {
    match Handle::try_current() {
        Ok(runtime) if !cache.on_own_runtime => Ok(runtime),
        _ => runtime::own().cloned(),
    }
}

fn token() -> Bytes {
    let [high, low] = [random(), random()];
    Bytes::from(format!("{high:016x}{low:016x}"))
}
