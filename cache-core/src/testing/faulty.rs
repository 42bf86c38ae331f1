mod backend;
mod faults;

use std::{sync::Arc, time::Duration};

use self::faults::Faults;
use crate::{
    error::ErrorKind,
    layer::{Call, Layered, Operation},
    runtime::Clock,
    store::Backend,
};

/// A store that fails, delays or hangs when a test tells it to, and otherwise does what the store in it does.
///
/// Clones are the same store: give one to what is tested and keep one to steer it. It also counts calls, tells when one has
/// arrived and holds calls back, so that tests need no sleeping:
///
/// ```
/// use cache_core::{ErrorKind, layer::Operation, store::{Backend, Inline}, testing::{Fault, Faulty, Model}};
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = Faulty::new(Arc::new(Inline::new(Model::default())));
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
/// // Whatever should happen while the call is on its way happens here.
/// held.release();
/// assert!(!call.await.unwrap().unwrap());
/// # }
/// ```
///
/// It offers no [`sync_view`](Backend::sync_view), because its calls may wait; see [`inline`](Self::inline) for one that does.
/// Its [`leader_view`](Backend::leader_view), if the store has one, has the same faults and the same counts.
#[derive(Clone, Debug)]
pub struct Faulty {
    faults: Arc<Faults>,
    store: Arc<dyn Backend>,
    /// The store with the faults around it.
    inner: Arc<Layered<Faults>>,
    inline: bool,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    #[default]
    None,
    /// It fails and has no effect; a batch fails for each key.
    Error(ErrorKind),
    /// It has its effect, and then the answer is lost and this comes instead.
    ErrorAfter(ErrorKind),
    /// It is made after this time, by the clock given to [`Faulty::with_clock`].
    Delay(Duration),
    /// It has no effect and is never answered.
    Hang,
    /// It has its effect and is never answered.
    HangAfter,
}

/// Holds the calls of one operation back until it is dropped; from [`Faulty::hold`].
#[derive(Debug)]
#[must_use = "the calls are held back as long as this lives"]
pub struct Held {
    faults: Arc<Faults>,
    operation: Operation,
}

impl Faulty {
    /// Around `store`, with no fault yet.
    pub fn new(store: Arc<dyn Backend>) -> Self {
        Self::build(store, Clock::system(), false)
    }

    /// As [`new`](Self::new), but with the store's own [`sync_view`](Backend::sync_view), if it has one, so that the way of
    /// in-process stores can be tested too. There a fault that would wait, and a held call, panic: such a store cannot wait.
    pub fn inline(store: Arc<dyn Backend>) -> Self {
        Self::build(store, Clock::system(), true)
    }

    /// The clock of [`Fault::Delay`], instead of the machine's. Faults and counts given before are forgotten.
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

    /// From now on `fault` decides about each call, in place of what was injected before. It sees a batch as one call without
    /// a key; [`fail_keys`](Self::fail_keys) makes parts of a batch fail. Held calls are judged when they are released.
    pub fn inject(&self, fault: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) {
        self.faults.set_fault(Some(Arc::new(fault)));
    }

    /// From now on each call, and each part of a batch, that has a key of which `fails` is true fails with `kind` and has no
    /// effect: one of several servers is down.
    pub fn fail_keys(&self, fails: impl Fn(&str) -> bool + Send + Sync + 'static, kind: ErrorKind) {
        self.faults.set_keys(Some((Arc::new(fails), kind)));
    }

    /// Ends all faults; calls that hang already go on hanging, and held calls stay held.
    pub fn heal(&self) {
        self.faults.set_fault(None);
        self.faults.set_keys(None);
    }

    /// How many calls of `operation` have arrived so far, failed ones too. A batch is one call.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.faults.calls(operation)
    }

    /// How many calls have arrived so far, of any operation.
    pub fn all_calls(&self) -> u64 {
        Operation::ALL.iter().copied().map(|it| self.calls(it)).sum()
    }

    /// Waits until `count` calls of `operation` have arrived since this store was made.
    pub async fn arrived(&self, operation: Operation, count: u64) {
        self.faults.arrived(operation, count).await;
    }

    /// Holds calls of `operation` back from now on, after they have arrived and before they have their effect.
    pub fn hold(&self, operation: Operation) -> Held {
        self.faults.hold(operation, true);
        Held { faults: Arc::clone(&self.faults), operation }
    }
}

impl Held {
    /// Lets the calls go on, which dropping this does as well.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.faults.hold(self.operation, false);
    }
}
