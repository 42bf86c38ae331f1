//! Layers: behaviour that runs around every call to a store, written once for all methods.

mod breaker;
mod built_store;
mod call;
mod deadline;
mod layered;
mod own_runtime;
mod retry;
mod stack;

use std::fmt;

pub(crate) use self::{
    breaker::Known,
    built_store::{BuiltStore, InMemory},
    call::rounds,
    own_runtime::OwnRuntime,
};
pub use self::{
    breaker::{Breaker, BreakerSettings, BreakerState, Breakers, Permit},
    call::{Call, Reply},
    layered::Layered,
    retry::RetrySettings,
};
pub use crate::telemetry::Operation;

/// Behaviour that runs around every call to a store, such as counting.
///
/// [`Layered`] combines a layer with a store into a [`Backend`](crate::store::Backend). Every store
/// that waits already has the deadline, retries, breaker and metrics of its alias around it.
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
    fn around<R: Reply, F: Future<Output = R> + Send + Unpin>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = R> + Send;

    /// Runs around a call to a store that never waits.
    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R;
}
