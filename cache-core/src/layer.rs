//! Layers: behaviour that runs around every call to a store, written once for all methods.

mod breaker;
mod built_store;
mod call;
mod deadline;
mod layered;
mod observe;
mod own_runtime;
mod retry;

use std::{fmt, pin::pin, sync::Arc};

pub(crate) use self::{
    breaker::Known, built_store::BuiltStore, call::rounds, own_runtime::OwnRuntime,
};
pub use self::{
    breaker::{Breaker, BreakerSettings, BreakerState, Breakers, Permit},
    call::{Call, Reply},
    deadline::Deadline,
    layered::Layered,
    retry::{Retry, RetrySettings},
};
pub use crate::telemetry::Operation;

/// Behaviour that runs around every call to a store: a deadline, a retry, a breaker, counters.
///
/// [`Layered`] combines a layer with a store into a [`Backend`](crate::store::Backend).
///
/// ```
/// use cache_core::{layer::{Call, Layer, Layered, Reply}, store::Backend};
/// use cache_memory::Memory;
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// /// Counts the calls that failed; in a batch, the keys that failed.
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
/// impl Layer for Failures {
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
/// let store = Layered::new(Arc::clone(&hook), Memory::new());
/// store.set("k", "text".into(), cache_core::store::Expiry::Never, Default::default()).await.unwrap();
/// store.incr("k", 1, None).await.unwrap_err();
/// assert_eq!(hook.0.load(Ordering::Relaxed), 1);
/// # }
/// ```
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// Runs around a call that may wait. `run` makes the call and may be used more than once.
    fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = R> + Send;

    /// Runs around a call to a store that never waits.
    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R;
}

/// Two layers as one, the first outermost. A call boxes one future for any number of layers.
impl<A: Layer, B: Layer> Layer for (A, B) {
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

/// A layer, or no layer.
impl<H: Layer> Layer for Option<H> {
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

/// A layer that is also used elsewhere.
impl<H: Layer> Layer for Arc<H> {
    // Not async: each async function keeps its arguments in the future of the call.
    fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = R> + Send {
        (**self).around(call, run)
    }

    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R {
        (**self).around_sync(call, run)
    }
}
