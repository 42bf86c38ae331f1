use std::{fmt, pin::pin, sync::Arc};

use crate::{Error, Result};

/// Behaviour around every call of a store: a deadline, a retry, a breaker, counters.
///
/// [`Around`](super::Around) makes a [`Backend`](crate::Backend) of a hook and the store that it is around.
///
/// ```
/// use cache_core::{Backend, Inline, layers::{Around, Call, Hook, Reply}};
/// use cache_memory::Memory;
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// /// Counts the calls that failed, a batch by its keys.
/// #[derive(Debug, Default)]
/// struct Failures(AtomicUsize);
///
/// impl Failures {
///     fn count<R: Reply>(&self, reply: R) -> R {
///         self.0.fetch_add(reply.errors().count(), Ordering::Relaxed);
///         reply
///     }
/// }
///
/// impl Hook for Failures {
///     async fn around<R: Reply, F: Future<Output = R> + Send>(
///         &self,
///         _: Call<'_>,
///         run: impl Fn() -> F + Send + Sync,
///     ) -> R {
///         self.count(run().await)
///     }
///     fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
///         self.count(run())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let hook = Arc::new(Failures::default());
/// let store = Around::new(Arc::clone(&hook), Arc::new(Inline::new(Memory::new())));
/// store.set("k", "text".into(), cache_core::Expiry::Never, Default::default()).await.unwrap();
/// store.incr("k", 1, None).await.unwrap_err();
/// assert_eq!(hook.0.load(Ordering::Relaxed), 1);
/// # }
/// ```
pub trait Hook: fmt::Debug + Send + Sync + 'static {
    /// Around a call that may wait. `run` makes the call, and may be used more than once.
    fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = R> + Send;

    /// Around a call of a store that never waits.
    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R;
}

/// Two hooks as one, the first outermost: however many there are, a call boxes one future.
impl<A: Hook, B: Hook> Hook for (A, B) {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        pin!(self.0.around(call, || self.1.around(call, &run))).await
    }

    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R {
        self.0.around_sync(call, || self.1.around_sync(call, &run))
    }
}

/// A hook, or none.
impl<H: Hook> Hook for Option<H> {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        match self {
            Some(hook) => pin!(hook.around(call, run)).await,
            None => pin!(run()).await,
        }
    }

    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R {
        match self {
            Some(hook) => hook.around_sync(call, run),
            None => run(),
        }
    }
}

/// A hook that is in use elsewhere, too.
impl<H: Hook> Hook for Arc<H> {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        pin!((**self).around(call, run)).await
    }

    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R {
        (**self).around_sync(call, run)
    }
}

/// Which call a [`Hook`] is around.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The method.
    pub operation: Operation,
    /// The key of a call that has one; for a rename, the old key.
    pub key: Option<&'a str>,
    /// How many keys the call has.
    pub keys: usize,
    /// Whether a second call does no harm when the outcome of the first is unknown.
    pub idempotent: bool,
}

/// How many keys a store may be expected to read or write in one round trip.
const KEYS_PER_ROUND_TRIP: usize = 1000;

impl Call<'_> {
    /// How many round trips a store may be expected to make of it.
    pub(super) fn rounds(&self) -> u32 {
        let rounds = self.keys.div_ceil(KEYS_PER_ROUND_TRIP).max(1);
        u32::try_from(rounds).unwrap_or(u32::MAX)
    }
}

/// A method of [`Backend`](crate::Backend), or one of [`Cache`](crate::Cache).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// `get` and `get_bytes`.
    Get,
    /// `get_many`.
    GetMany,
    /// `set` and `set_bytes`.
    Set,
    /// `add`.
    Add,
    /// `replace`.
    Replace,
    /// `set_many`.
    SetMany,
    /// `has_key`.
    HasKey,
    /// `ttl`.
    Ttl,
    /// `touch`.
    Touch,
    /// `delete`.
    Delete,
    /// `delete_many`.
    DeleteMany,
    /// `pop`.
    Pop,
    /// `incr`, `decr` and `incr_or`.
    Incr,
    /// `update`, `upsert`, and a compare-and-set.
    Update,
    /// A compare-and-delete.
    CompareAndDelete,
    /// `incr_version` and `decr_version`.
    IncrVersion,
    /// `get_or_set` and `get_or_try_set`.
    GetOrSet,
    /// `clear`.
    Clear,
    /// `clear_store`.
    ClearStore,
    /// `check`.
    Check,
    /// `close`.
    Close,
}

impl Operation {
    /// Every operation, for tables and metrics.
    pub const ALL: [Self; 21] = [
        Self::Get,
        Self::GetMany,
        Self::Set,
        Self::Add,
        Self::Replace,
        Self::SetMany,
        Self::HasKey,
        Self::Ttl,
        Self::Touch,
        Self::Delete,
        Self::DeleteMany,
        Self::Pop,
        Self::Incr,
        Self::Update,
        Self::CompareAndDelete,
        Self::IncrVersion,
        Self::GetOrSet,
        Self::Clear,
        Self::ClearStore,
        Self::Check,
        Self::Close,
    ];

    /// The name in messages and counters: that of the method of [`Cache`](crate::Cache).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Set => "set",
            Self::Add => "add",
            Self::Replace => "replace",
            Self::SetMany => "set_many",
            Self::HasKey => "has_key",
            Self::Ttl => "ttl",
            Self::Touch => "touch",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::Pop => "pop",
            Self::Incr => "incr",
            Self::Update => "update",
            Self::CompareAndDelete => "compare_and_delete",
            Self::IncrVersion => "incr_version",
            Self::GetOrSet => "get_or_set",
            Self::Clear => "clear",
            Self::ClearStore => "clear_store",
            Self::Check => "check",
            Self::Close => "close",
        }
    }

    /// Whether doing it twice leaves the store as doing it once does, and the answer means the same.
    pub(super) const fn is_idempotent(self) -> bool {
        // `delete` answers differently the second time, and `touch` may; both leave the store the same.
        !matches!(
            self,
            Self::Add
                | Self::Replace
                | Self::Pop
                | Self::Incr
                | Self::Update
                | Self::CompareAndDelete
                | Self::IncrVersion
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a call answers: a `Result`, or one for each key of a batch.
pub trait Reply: Send + Sized + 'static {
    /// The answer to `call` if it fails as a whole.
    fn failed(call: &Call<'_>, error: Error) -> Self;

    /// The errors in it, one for each key that failed.
    fn errors(&self) -> impl Iterator<Item = &Error>;
}

impl<T: Send + 'static> Reply for Result<T> {
    fn failed(_: &Call<'_>, error: Error) -> Self {
        Err(error)
    }
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.as_ref().err().into_iter()
    }
}

impl<T: Send + 'static> Reply for Vec<Result<T>> {
    fn failed(call: &Call<'_>, error: Error) -> Self {
        (0..call.keys).map(|_| Err(error.clone())).collect()
    }
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.iter().filter_map(|it| it.as_ref().err())
    }
}
