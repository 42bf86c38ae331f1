//! The hook that applies the faults to each call, and its state.

use std::{
    collections::HashMap,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::fault::Fault;
use crate::{
    error::{Error, ErrorKind},
    layer::{Call, Layer, Operation, Reply},
    runtime::Clock,
};

pub(super) struct Faults {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    fault: Option<Choose>,
    keys: Option<(Pick, ErrorKind)>,
    calls: HashMap<Operation, u64>,
    /// How many [`Held`](super::Held) exist for each operation.
    held: HashMap<Operation, usize>,
}

type Choose = Arc<dyn Fn(&Call<'_>) -> Fault + Send + Sync>;
type Pick = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Faults {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn set_fault(&self, fault: Option<Choose>) {
        self.lock().fault = fault;
    }

    pub(super) fn set_keys(&self, keys: Option<(Pick, ErrorKind)>) {
        self.lock().keys = keys;
    }

    pub(super) fn calls(&self, operation: Operation) -> u64 {
        self.lock().calls.get(&operation).copied().unwrap_or_default()
    }

    pub(super) async fn arrived(&self, operation: Operation, count: u64) {
        crate::testing::wait_for(&self.changed, || self.calls(operation) >= count).await;
    }

    pub(super) fn hold(&self, operation: Operation, more: bool) {
        let mut state = self.lock();
        let held = state.held.entry(operation).or_default();
        *held = if more { *held + 1 } else { held.saturating_sub(1) };
        drop(state);
        self.changed.notify_waiters();
    }

    /// Returns the injected error of a key, if the key must fail.
    pub(super) fn key_error(&self, key: &str) -> Option<Error> {
        let (fails, kind) = self.lock().keys.clone()?;
        fails(key).then(|| injected(kind))
    }

    fn count(&self, call: &Call<'_>) {
        *self.lock().calls.entry(call.operation).or_default() += 1;
        self.changed.notify_waiters();
    }

    fn is_held(&self, call: &Call<'_>) -> bool {
        self.lock().held.get(&call.operation).is_some_and(|it| *it > 0)
    }

    fn fault(&self, call: &Call<'_>) -> Fault {
        if let Some(error) = call.key.and_then(|it| self.key_error(it)) {
            return Fault::Error(error.kind());
        }
        // Called without the lock, because the test's function may call this store.
        let choose = self.lock().fault.clone();
        choose.map_or(Fault::None, |it| it(call))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer for Faults {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        self.count(&call);
        crate::testing::wait_for(&self.changed, || !self.is_held(&call)).await;
        match self.fault(&call) {
            Fault::None => run().await,
            Fault::Error(kind) => R::failed(&call, injected(kind)),
            Fault::ErrorAfter(kind) => {
                run().await;
                R::failed(&call, injected(kind))
            }
            Fault::Delay(time) => {
                self.clock.sleep(time).await;
                run().await
            }
            Fault::Hang => pending().await,
            Fault::HangAfter => {
                run().await;
                pending().await
            }
        }
    }

    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R {
        self.count(&call);
        assert!(!self.is_held(&call), "a call of the sync view cannot be held back");
        match self.fault(&call) {
            Fault::None => run(),
            Fault::Error(kind) => R::failed(&call, injected(kind)),
            Fault::ErrorAfter(kind) => {
                run();
                R::failed(&call, injected(kind))
            }
            waits @ (Fault::Delay(_) | Fault::Hang | Fault::HangAfter) => {
                panic!("a call of the sync view cannot wait, so it cannot have the fault {waits:?}")
            }
        }
    }
}

fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, "injected by the test")
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Faults")
            .field("calls", &state.calls)
            .field("held", &state.held)
            .finish_non_exhaustive()
    }
}
