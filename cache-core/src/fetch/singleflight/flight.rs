//! One load of one key, shared by its leader and its waiters.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    error::Result,
    runtime::sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) struct Flight {
    /// Unique in the process.
    pub(super) id: u64,
    pub(super) key: Box<str>,
    shared: Mutex<Shared>,
}

struct Shared {
    state: State,
    waiters: HashMap<u64, Waker>,
    next_waiter: u64,
    /// The leader, if it waits for the flight to become unwanted.
    leader: Option<Waker>,
    /// The tags of the value.
    tags: Vec<u64>,
    /// Whether the load goes on without waiters, to store its value.
    is_kept: bool,
    /// Whether the store has the loaded value.
    is_stored: bool,
    /// A resource of a kept load, which is freed when the load ends.
    guard: Option<Box<dyn Send>>,
}

enum State {
    /// A leader runs its loader until this time. `stores` becomes false when the key is written.
    Loading { until: Duration, stores: bool },
    /// The leader was dropped. The first waiter that is polled leads.
    Abandoned,
    /// The flight ended without a result. Its waiters join the next one.
    Closed,
    /// The result, for the waiters.
    Completed(Result<Bytes>),
}

/// The next step of a waiter.
pub(super) enum Step {
    /// Return this result.
    Return(Result<Bytes>),
    /// Lead this flight.
    Lead,
    /// Join the next flight.
    Rejoin,
}

impl Flight {
    /// Creates a flight whose leader loads until this time.
    pub(super) fn new(key: &str, until: Duration) -> Arc<Self> {
        let shared = Shared {
            state: State::Loading { until, stores: true },
            waiters: HashMap::new(),
            next_waiter: 0,
            leader: None,
            tags: Vec::new(),
            is_kept: false,
            is_stored: false,
            guard: None,
        };
        Arc::new(Self { id: next_id(), key: key.into(), shared: Mutex::new(shared) })
    }

    /// Adds a waiter and returns its number; `None` if the leader exceeded its time.
    pub(super) fn add_waiter(&self, now: Duration) -> Option<u64> {
        let mut shared = self.lock();
        if matches!(shared.state, State::Loading { until, .. } if until <= now) {
            return None;
        }
        Some(shared.add_waiter())
    }

    /// Adds the caller that began the flight.
    pub(super) fn add_first_waiter(&self) -> u64 {
        self.lock().add_waiter()
    }

    /// Removes a waiter. Returns whether the flight has neither a leader nor a waiter now.
    pub(super) fn remove_waiter(&self, id: u64) -> bool {
        let mut shared = self.lock();
        shared.waiters.remove(&id);
        shared.wake_unwanted();
        shared.is_abandoned()
    }

    /// Lets the load go on without waiters. The flight drops `guard` when the load ends.
    pub(super) fn keep(&self, guard: Box<dyn Send>) {
        let mut shared = self.lock();
        shared.is_kept = true;
        // Dropped without the lock: a guard may run any code.
        let old = shared.guard.replace(guard);
        drop(shared);
        drop(old);
    }

    /// Ends [`keep`](Self::keep): without waiters the load is unwanted.
    pub(super) fn release(&self) {
        let mut shared = self.lock();
        shared.is_kept = false;
        shared.wake_unwanted();
    }

    /// Drops what was held until the load ends.
    pub(super) fn drop_guard(&self) {
        let guard = self.lock().guard.take();
        drop(guard);
    }

    /// Is ready when no caller wants the result: the flight has no waiter, and is not kept or will
    /// not store its value.
    pub(super) fn poll_unwanted(&self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = self.lock();
        if !shared.is_wanted() {
            return Poll::Ready(());
        }
        shared.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Is ready when the waiter can go on. If it leads, its load ends at `until`.
    pub(super) fn poll_wait(&self, id: u64, until: Duration, cx: &Context<'_>) -> Poll<Step> {
        let mut shared = self.lock();
        match &shared.state {
            State::Loading { .. } => {
                shared.waiters.insert(id, cx.waker().clone());
                Poll::Pending
            }
            State::Abandoned => {
                shared.state = State::Loading { until, stores: true };
                Poll::Ready(Step::Lead)
            }
            State::Closed => Poll::Ready(Step::Rejoin),
            State::Completed(result) => Poll::Ready(Step::Return(result.clone())),
        }
    }

    /// Adds tags of the value.
    pub(super) fn add_tags(&self, tags: impl Iterator<Item = u64>) {
        self.lock().tags.extend(tags);
    }

    /// Returns whether the value has one of these tags.
    pub(super) fn has_tag(&self, tags: &[u64]) -> bool {
        self.lock().tags.iter().any(|it| tags.contains(it))
    }

    /// Returns when the leader's time ends: zero if no leader loads.
    pub(super) fn until(&self) -> Duration {
        match self.lock().state {
            State::Loading { until, .. } => until,
            State::Abandoned | State::Closed | State::Completed(_) => Duration::ZERO,
        }
    }

    /// Notes that the store has the loaded value.
    pub(super) fn set_stored(&self) {
        self.lock().is_stored = true;
    }

    /// Returns whether the store has the loaded value.
    pub(super) fn is_stored(&self) -> bool {
        self.lock().is_stored
    }

    /// Returns whether the leader may store the loaded value.
    pub(super) fn stores(&self) -> bool {
        matches!(self.lock().state, State::Loading { stores: true, .. })
    }

    /// Returns whether the flight has neither a leader nor a waiter that could lead.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned()
    }

    /// The key was written: the loaded value must not be stored.
    pub(super) fn detach(&self) {
        self.change(|state| match state {
            State::Loading { until, .. } => State::Loading { until, stores: false },
            // A waiter that led now would not store its value, and the next flight may exist.
            State::Abandoned => State::Closed,
            ended => ended,
        });
    }

    /// Another flight replaces this one, because the leader exceeded its time.
    pub(super) fn close(&self) {
        self.change(|_| State::Closed);
    }

    /// The leader was dropped. Returns whether the flight has no waiter that could lead.
    pub(super) fn abandon(&self) -> bool {
        self.change(|state| match state {
            State::Loading { stores: true, .. } => State::Abandoned,
            _ => State::Closed,
        })
    }

    /// Passes the result to the waiters. Those of a flight that was closed are in the next one.
    pub(super) fn complete(&self, result: Result<Bytes>) {
        self.change(|state| match state {
            State::Loading { .. } => State::Completed(result),
            ended => ended,
        });
    }

    /// Changes the state and wakes all waiters. Returns whether the flight is abandoned.
    fn change(&self, change: impl FnOnce(State) -> State) -> bool {
        let mut shared = self.lock();
        let state = std::mem::replace(&mut shared.state, State::Closed);
        shared.state = change(state);
        shared.waiters.values().for_each(Waker::wake_by_ref);
        shared.wake_unwanted();
        shared.is_abandoned()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn add_waiter(&mut self) -> u64 {
        self.next_waiter += 1;
        self.waiters.insert(self.next_waiter, Waker::noop().clone());
        self.next_waiter
    }

    fn is_wanted(&self) -> bool {
        let stores = matches!(self.state, State::Loading { stores: true, .. });
        !self.waiters.is_empty() || (self.is_kept && stores)
    }

    fn wake_unwanted(&mut self) {
        if !self.is_wanted()
            && let Some(leader) = self.leader.take()
        {
            leader.wake();
        }
    }

    fn is_abandoned(&self) -> bool {
        matches!(self.state, State::Abandoned) && self.waiters.is_empty()
    }
}

/// The standard library's atomic also in the model test: a number is only compared.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
