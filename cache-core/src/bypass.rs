//! Switches reading through off for one task.

use std::{cell::Cell, future::poll_fn, pin::pin};

thread_local! {
    /// Whether the code that this thread runs now is in a scope.
    static IS_ON: Cell<bool> = const { Cell::new(false) };
}

/// Loads without the cache for one request: a user reloads a page, or an engineer compares the
/// cached answer with the real one.
///
/// In its [`scope`](Self::scope), the calls that read through run their loaders. They neither read
/// the store, nor write to it, nor share the loads of other callers. These are
/// [`fetch`](crate::Cache::fetch), also with `force`, and `get_or_set`, `get_or_try_set`,
/// `get_or_load` and `get_or_set_many` of every handle, with the calls in their loaders. All other
/// calls, such as `get` and `set`, do what they always do.
///
/// A task or a thread that is spawned in the scope is not in it. To carry the scope there, call
/// [`current`](Self::current) before it is spawned.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{Bypass, Cache, secs};
/// # use cache_memory::Memory; let cache = Cache::new("test", Memory::new());
///
/// let page = async |text: &str| {
///     let text = text.to_owned();
///     cache.get_or_set("page", secs(60), || async { text }).await
/// };
/// assert_eq!(page("first").await?, "first");
/// assert_eq!(page("second").await?, "first");
/// let reload = true; // the request has the header `cache-control: no-cache`
/// assert_eq!(Bypass::when(reload).scope(page("third")).await?, "third");
/// assert_eq!(page("fourth").await?, "first");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "bypasses the cache in its `scope`"]
pub struct Bypass(bool);

impl Bypass {
    /// Creates a bypass, if the condition holds. Otherwise, its scope changes nothing.
    pub const fn when(condition: bool) -> Self {
        Self(condition)
    }

    /// Returns the bypass of the current scope, for tasks and threads that it spawns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use cache_core::Bypass;
    ///
    /// Bypass::when(true).scope(async {
    ///     let current = Bypass::current();
    ///     let task = tokio::spawn(current.scope(async { Bypass::current() }));
    ///     assert_eq!(task.await.unwrap(), Bypass::when(true));
    ///     let task = tokio::spawn(async { Bypass::current() });
    ///     assert_eq!(task.await.unwrap(), Bypass::when(false));
    /// }).await;
    /// # }
    /// ```
    pub fn current() -> Self {
        Self(is_on())
    }

    /// Runs a future. In it, reading through bypasses the cache.
    ///
    /// # Cancel safety
    /// As the future.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.scope_sync(|| future.as_mut().poll(cx))).await
    }

    /// Runs code without async on this thread, as [`scope`](Self::scope) does: for
    /// [`BlockingCache`](crate::BlockingCache).
    ///
    /// ```
    /// use cache_core::{Bypass, Cache, secs};
    /// # use cache_memory::Memory; let cache = Cache::new("test", Memory::new());
    /// let cache = cache.blocking();
    /// cache.get_or_set("k", secs(60), || 1)?;
    /// let loaded = Bypass::when(true).scope_sync(|| cache.get_or_set("k", secs(60), || 2))?;
    /// assert_eq!(loaded, 2);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn scope_sync<T>(self, code: impl FnOnce() -> T) -> T {
        /// Leaves the scope, also after a panic in the code.
        struct Leave(bool);
        impl Drop for Leave {
            fn drop(&mut self) {
                IS_ON.set(self.0);
            }
        }
        let outer = is_on();
        let _leave = Leave(outer);
        IS_ON.set(outer || self.0);
        code()
    }
}

/// Returns whether the caller is in a scope.
#[inline]
pub(crate) fn is_on() -> bool {
    IS_ON.get()
}
