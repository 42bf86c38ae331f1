use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    runtime::{Handle, Id},
    task::AbortHandle,
};

use super::{PerProcess, current_runtime};
use crate::error::{Error, ErrorKind, Result};

/// A value per tokio runtime, such as the connections of a store: a connection that was opened in
/// one runtime hangs in another.
///
/// The value of a runtime is dropped with the runtime. A child of `fork` has its own values, and
/// does not use its parent's.
///
/// ```
/// use cache_core::store::PerRuntime;
/// use std::sync::Arc;
///
/// let pools = PerRuntime::new();
/// let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// let (first, second) = (runtime(), runtime());
/// let one = first.block_on(async { pools.here(|_| Arc::new("made for the first")) })?;
/// let two = second.block_on(async { pools.here(|_| Arc::new("made for the second")) })?;
/// assert_eq!((*one, *two), ("made for the first", "made for the second"));
/// assert!(first.block_on(async { pools.here(|_| unreachable!("it exists")) }).is_ok());
///
/// drop(first);
/// assert_eq!(Arc::strong_count(&one), 1, "it was dropped with its runtime");
/// assert_eq!(Arc::strong_count(&two), 2);
/// # Ok::<_, cache_core::Error>(())
/// ```
pub struct PerRuntime<T>(PerProcess<Arc<Open<T>>>);

struct Open<T>(RwLock<Vec<Entry<T>>>);

struct Entry<T> {
    runtime: Id,
    it: Arc<T>,
    watcher: AbortHandle,
}

impl<T: Send + Sync + 'static> PerRuntime<T> {
    /// Creates it without a value for any runtime.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of the caller's runtime, which `make` creates if it does not exist.
    ///
    /// # Errors
    /// `Runtime` if the caller has no tokio runtime, if the runtime has no timer, or if it was
    /// inherited by `fork`: then its sockets and threads belong to the parent.
    pub fn here(&self, make: impl FnOnce(&Handle) -> Arc<T>) -> Result<Arc<T>> {
        let runtime = current_runtime()?;
        let open = self.0.get_or_init(Arc::default);
        if let Some(it) = open.find(runtime.id()) {
            return Ok(it);
        }
        if self.0.inherited().any(|it| it.knows(runtime.id())) {
            let what = "this tokio runtime was made before the process was forked, and belongs to the parent; make a new \
                        runtime in the child, or use `cache.blocking()` on a thread without one";
            return Err(Error::new(ErrorKind::Runtime, what));
        }
        Ok(open.create(&runtime, make))
    }

    /// Returns the values of all runtimes.
    pub fn all(&self) -> Vec<Arc<T>> {
        let Some(open) = self.0.get() else { return Vec::new() };
        let open = open.0.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|it| Arc::clone(&it.it)).collect()
    }

    /// Removes all values. Callers that hold one keep it.
    pub fn clear(&self) {
        let Some(open) = self.0.get() else { return };
        let all = std::mem::take(&mut *open.write());
        // Dropped without the lock, because their destructors may use this value.
        drop(all);
    }
}

impl<T: Send + Sync + 'static> Open<T> {
    fn write(&self) -> RwLockWriteGuard<'_, Vec<Entry<T>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, runtime: Id) -> Option<Arc<T>> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().find(|it| it.runtime == runtime).map(|it| Arc::clone(&it.it))
    }

    /// Returns whether this is one of its runtimes. A lock that is held counts as not.
    fn knows(&self, runtime: Id) -> bool {
        self.0.try_read().is_ok_and(|open| open.iter().any(|it| it.runtime == runtime))
    }

    fn create(self: &Arc<Self>, runtime: &Handle, make: impl FnOnce(&Handle) -> Arc<T>) -> Arc<T> {
        let it = make(runtime);
        let has_ended = Arc::<AtomicBool>::default();
        let remove = RemoveOnDrop {
            open: Arc::downgrade(self),
            it: Arc::downgrade(&it),
            has_ended: Arc::clone(&has_ended),
        };
        // A runtime drops its tasks when it ends. A runtime that is ending already drops this one
        // at once, which takes the lock.
        let watcher = runtime.spawn(async move {
            let _remove = remove;
            std::future::pending::<()>().await;
        });
        let watcher = watcher.abort_handle();
        let entry = Entry { runtime: runtime.id(), it: Arc::clone(&it), watcher };
        // From here on nothing is dropped before the lock is released.
        let mut open = self.write();
        if let Some(it) = open.iter().find(|it| it.runtime == runtime.id()) {
            return Arc::clone(&it.it);
        }
        // No task would remove it.
        if !has_ended.load(Ordering::Relaxed) {
            open.push(entry);
        }
        it
    }
}

/// Removes the value when the runtime drops it.
struct RemoveOnDrop<T: Send + Sync + 'static> {
    open: Weak<Open<T>>,
    it: Weak<T>,
    has_ended: Arc<AtomicBool>,
}

impl<T: Send + Sync + 'static> Drop for RemoveOnDrop<T> {
    fn drop(&mut self) {
        let Some(open) = self.open.upgrade() else { return };
        let removed: Vec<_> = {
            let mut open = open.write();
            // `create` reads it under the same lock.
            self.has_ended.store(true, Ordering::Relaxed);
            let is_this = |it: &Entry<T>| std::ptr::eq(Arc::as_ptr(&it.it), self.it.as_ptr());
            let (removed, rest) = std::mem::take(&mut *open).into_iter().partition(is_this);
            *open = rest;
            removed
        };
        // Dropped without the lock, because their destructors may use this value.
        drop(removed);
    }
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl<T> Default for PerRuntime<T> {
    fn default() -> Self {
        Self(PerProcess::new())
    }
}

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> fmt::Debug for PerRuntime<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = |it: &Arc<Open<T>>| it.0.read().unwrap_or_else(PoisonError::into_inner).len();
        let open = self.0.get().map_or(0, len);
        write!(f, "PerRuntime({open})")
    }
}
