mod backend;
mod fault;
mod faults;

use std::sync::Arc;

pub use self::fault::Fault;
use self::faults::Faults;
use crate::{
    error::ErrorKind,
    layer::{Call, Layered, Operation},
    runtime::Clock,
    store::{Backend, IntoBackend},
};

/// A store with injected faults: calls fail, are delayed or hang as a test wants, and otherwise go
/// to the inner store.
///
/// Clones are the same store: pass one to the code under test and keep one to control it. It also
/// counts calls, reports their arrival and holds them back, so that tests need not sleep:
///
/// ```
/// use cache_core::{ErrorKind, layer::Operation, store::Backend, testing::{Fault, Faulty, Model}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = Faulty::new(Model::default());
/// store.inject(|call| match call.operation {
///     Operation::Get => Fault::Error(ErrorKind::Unavailable),
///     _ => Fault::None,
/// });
/// assert_eq!(store.get("k").await.unwrap_err().kind(), ErrorKind::Unavailable);
/// assert!(!store.has("k").await.unwrap());
/// store.heal();
/// assert_eq!(store.get("k").await.unwrap(), None);
/// assert_eq!(store.calls(Operation::Get), 2);
///
/// let held = store.hold(Operation::Delete);
/// let call = tokio::spawn({ let store = store.clone(); async move { store.delete("k").await } });
/// store.arrived(Operation::Delete, 1).await;
/// // Here the test does what should happen during the call.
/// held.release();
/// assert!(!call.await.unwrap().unwrap());
/// # }
/// ```
///
/// Its calls may wait, so it has no [synchronous view](crate::store::Views);
/// [`inline`](Self::inline) makes a store that has one. The [leader view](crate::store::Views) of
/// the inner store, if it has one, gets the same faults and counts.
#[derive(Clone, Debug)]
pub struct Faulty {
    faults: Arc<Faults>,
    store: Arc<dyn Backend>,
    /// The store with the faults around it.
    inner: Arc<Layered<Faults>>,
    inline: bool,
}

/// Holds back the calls of one operation until it is dropped. Made by [`Faulty::hold`].
#[derive(Debug)]
#[must_use = "the calls are held back as long as this lives"]
pub struct Held {
    faults: Arc<Faults>,
    operation: Operation,
}

impl Faulty {
    /// Wraps `store`, without a fault.
    pub fn new(store: impl IntoBackend) -> Self {
        Self::build(store.into_backend(), Clock::system(), false)
    }

    /// Wraps `store` with its [synchronous view](crate::store::Views), if it has one, to test the
    /// path of in-process stores.
    ///
    /// Calls of the sync view cannot wait: a fault that waits, or a held call, panics there.
    pub fn inline(store: impl IntoBackend) -> Self {
        Self::build(store.into_backend(), Clock::system(), true)
    }

    /// Sets the clock of [`Fault::Delay`], which is the machine's by default. Resets faults and
    /// counts.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self::build(self.store, clock, self.inline)
    }

    fn build(store: Arc<dyn Backend>, clock: Clock, inline: bool) -> Self {
        Self::with_faults(Arc::new(Faults::new(clock)), store, inline)
    }

    fn with_faults(faults: Arc<Faults>, store: Arc<dyn Backend>, inline: bool) -> Self {
        let inner = Arc::new(Layered::new(Arc::clone(&faults), Arc::clone(&store)));
        Self { faults, store, inner, inline }
    }

    /// Sets the function that chooses the fault of each call, and replaces the one before.
    ///
    /// A batch is one call without a key; [`fail_keys`](Self::fail_keys) makes parts of a batch
    /// fail. For a held call the function runs when the call is released.
    pub fn inject(&self, fault: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) {
        self.faults.set_fault(Some(Arc::new(fault)));
    }

    /// Lets each call whose key `fails` accepts fail with `kind`, without an effect, as if one of
    /// several servers were down.
    ///
    /// In a batch, the parts with such keys fail and the others succeed.
    pub fn fail_keys(&self, fails: impl Fn(&str) -> bool + Send + Sync + 'static, kind: ErrorKind) {
        self.faults.set_keys(Some((Arc::new(fails), kind)));
    }

    /// Removes all faults. Calls that hang already never return, and held calls stay held.
    pub fn heal(&self) {
        self.faults.set_fault(None);
        self.faults.set_keys(None);
    }

    /// Returns how many calls of `operation` have arrived, including failed ones. A batch is one
    /// call.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.faults.calls(operation)
    }

    /// Returns how many calls of all operations have arrived.
    pub fn all_calls(&self) -> u64 {
        Operation::ALL.iter().copied().map(|it| self.calls(it)).sum()
    }

    /// Waits until `count` calls of `operation` have arrived in total.
    pub async fn arrived(&self, operation: Operation, count: u64) {
        self.faults.arrived(operation, count).await;
    }

    /// Holds back calls of `operation` after they have arrived and before they have an effect.
    pub fn hold(&self, operation: Operation) -> Held {
        self.faults.hold(operation, true);
        Held { faults: Arc::clone(&self.faults), operation }
    }
}

impl Held {
    /// Releases the calls. Dropping `self` does the same.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.faults.hold(self.operation, false);
    }
}
