//! Answers repeated reads of one request once.

mod state;

use std::{cell::Cell, future::poll_fn, pin::pin};

pub(crate) use self::state::{Moment, Recalled, State};

thread_local! {
    /// Whether the code that this thread runs now is in a scope.
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    /// The answers that the scope of this code remembers.
    static CURRENT: Cell<Option<Box<State>>> = const { Cell::new(None) };
}

/// Remembers what one request reads, so that it asks the store for each key once: Rails calls this
/// `LocalCache`, Laravel `Cache::memo()`.
///
/// In its [`scope`](Self::scope), the first read of a key goes to the store, and later reads of the
/// key by `get`, `get_many`, `has_key`, [`fetch`](crate::Cache::fetch), `get_or_set` and their
/// relatives get the same answer, also that the key is missing. This holds for all handles and
/// keyspaces. `cache_tower::memo::RequestMemoLayer` opens a scope for each request.
///
/// # Changes
/// - A write, delete, increment, `clear` or invalidation of tags by this process, in any task, is
///   visible at once, as without the memo.
/// - A change by another process, and the end of a lifetime, is visible at most one second late.
///   Nothing is remembered for longer, however long the scope lasts.
/// - `add`, `replace`, `pop`, `update`, counters, changes with a revision and locks use the store
///   only. Errors are not remembered.
///
/// # Limits
/// - A scope remembers at most 1,000 keys and 4 MiB of keys and values. Reads of further keys go to
///   the store.
/// - A store that never waits (`memory`) is not remembered: its reads cost as much as those of the
///   memo.
/// - A task or a thread that is spawned in the scope is not in it, and neither are the loaders of
///   `fetch`, which are such tasks.
/// - A scope within a scope is part of it.
///
/// A remembered answer counts as a hit or a miss of the cache.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{Cache, RequestMemo, layer::Operation, secs, testing::{Faulty, Model}};
///
/// let store = Faulty::new(Model::default());
/// let cache = Cache::new("test", std::sync::Arc::new(store.clone()));
/// cache.set("user:7", "Ada", secs(60)).await?;
/// RequestMemo::new().scope(async {
///     for _ in 0..3 {
///         assert_eq!(cache.get::<String>("user:7").await?.as_deref(), Some("Ada"));
///     }
///     assert_eq!(store.calls(Operation::Get), 1);
///     cache.set("user:7", "Bob", secs(60)).await?;
///     assert_eq!(cache.get::<String>("user:7").await?.as_deref(), Some("Bob"));
///     Ok(())
/// }).await
/// # }
/// ```
#[derive(Default)]
#[must_use = "remembers what is read in its `scope`"]
pub struct RequestMemo(Option<Box<State>>);

impl RequestMemo {
    /// Creates a memo, which remembers nothing yet.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Runs a future, whose reads are remembered.
    ///
    /// # Cancel safety
    /// As the future.
    pub async fn scope<F: Future>(mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.scope_sync(|| future.as_mut().poll(cx))).await
    }

    /// Runs code without async on this thread, as [`scope`](Self::scope) does: for
    /// [`BlockingCache`](crate::BlockingCache), and for futures that poll others.
    ///
    /// A memo may run several pieces of code, one after the other, also on different threads.
    ///
    /// ```
    /// use cache_core::{Cache, RequestMemo, layer::Operation, secs, testing::{Faulty, Model}};
    ///
    /// let store = Faulty::new(Model::default());
    /// let cache = Cache::new("test", std::sync::Arc::new(store.clone())).blocking();
    /// let mut memo = RequestMemo::new();
    /// for _ in 0..3 {
    ///     assert_eq!(memo.scope_sync(|| cache.get::<u8>("k"))?, None);
    /// }
    /// assert_eq!(store.calls(Operation::Get), 1);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn scope_sync<T>(&mut self, code: impl FnOnce() -> T) -> T {
        /// Leaves the scope, also after a panic in the code.
        struct Leave<'a>(&'a mut Option<Box<State>>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                IS_ON.set(false);
                *self.0 = take();
            }
        }
        if is_on() {
            return code();
        }
        put(self.0.take().unwrap_or_default());
        IS_ON.set(true);
        let _leave = Leave(&mut self.0);
        code()
    }
}

impl std::fmt::Debug for RequestMemo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestMemo").finish_non_exhaustive()
    }
}

/// Returns whether the caller is in a scope.
#[inline]
pub(crate) fn is_on() -> bool {
    IS_ON.get()
}

/// Runs code with what the scope has read. `None` outside of a scope.
pub(crate) fn with<T>(code: impl FnOnce(&mut State) -> T) -> Option<T> {
    let mut state = take()?;
    let res = code(&mut state);
    put(state);
    Some(res)
}

// The thread may be at its end, where it has no such place any more: then nothing is remembered.

fn take() -> Option<Box<State>> {
    CURRENT.try_with(Cell::take).ok().flatten()
}

fn put(state: Box<State>) {
    let _ = CURRENT.try_with(|it| it.set(Some(state)));
}
