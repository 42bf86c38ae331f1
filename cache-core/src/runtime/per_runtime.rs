//! One of something for each tokio runtime that calls.

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

/// One of something for each tokio runtime that calls: for the connections of a store. One that is made in a runtime hangs when
/// another drives it, so each runtime gets its own.
///
/// What a runtime had is dropped when the runtime is. A child of `fork` has its own, and never touches what its parent had.
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
/// assert!(first.block_on(async { pools.here(|_| unreachable!("it is there")) }).is_ok());
///
/// drop(first);
/// assert_eq!(Arc::strong_count(&one), 1, "gone with its runtime");
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
    /// For no runtime yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// That of the caller's runtime, made if it is not there. `Config` without a runtime, or its timer, or in a runtime
    /// that a child of `fork` has inherited: its sockets and threads are those of its parent.
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
        Ok(open.make(&runtime, make))
    }

    /// All there are.
    pub fn all(&self) -> Vec<Arc<T>> {
        let Some(open) = self.0.get() else { return Vec::new() };
        let open = open.0.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|it| Arc::clone(&it.it)).collect()
    }

    /// Forgets them all. Who has one keeps it.
    pub fn clear(&self) {
        let Some(open) = self.0.get() else { return };
        let all = std::mem::take(&mut *open.write());
        // Not under the lock: what ends with them may look here, too.
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

    /// Whether this is one of its runtimes, as far as that can be seen without waiting for a lock.
    fn knows(&self, runtime: Id) -> bool {
        self.0.try_read().is_ok_and(|open| open.iter().any(|it| it.runtime == runtime))
    }

    fn make(self: &Arc<Self>, runtime: &Handle, make: impl FnOnce(&Handle) -> Arc<T>) -> Arc<T> {
        let it = make(runtime);
        let is_over = Arc::<AtomicBool>::default();
        let gone = Gone {
            open: Arc::downgrade(self),
            it: Arc::downgrade(&it),
            is_over: Arc::clone(&is_over),
        };
        // A runtime that ends drops its tasks: so it is noticed. One that is ending drops this one here and now, which locks.
        let watcher = runtime.spawn(async move {
            let _gone = gone;
            std::future::pending::<()>().await;
        });
        let watcher = watcher.abort_handle();
        let entry = Entry { runtime: runtime.id(), it: Arc::clone(&it), watcher };
        // From here on nothing is dropped before the lock is free.
        let mut open = self.write();
        if let Some(it) = open.iter().find(|it| it.runtime == runtime.id()) {
            return Arc::clone(&it.it);
        }
        // Nobody would remove it.
        if !is_over.load(Ordering::Relaxed) {
            open.push(entry);
        }
        it
    }
}

/// Dropped with the runtime.
struct Gone<T: Send + Sync + 'static> {
    open: Weak<Open<T>>,
    it: Weak<T>,
    is_over: Arc<AtomicBool>,
}

impl<T: Send + Sync + 'static> Drop for Gone<T> {
    fn drop(&mut self) {
        let Some(open) = self.open.upgrade() else { return };
        let gone: Vec<_> = {
            let mut open = open.write();
            // Read under the same lock.
            self.is_over.store(true, Ordering::Relaxed);
            let is_gone = |it: &Entry<T>| std::ptr::eq(Arc::as_ptr(&it.it), self.it.as_ptr());
            let (gone, rest) = std::mem::take(&mut *open).into_iter().partition(is_gone);
            *open = rest;
            gone
        };
        // Not under the lock: what ends with them may look here, too.
        drop(gone);
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
