//! One load per key at a time: who leads, who waits, who may store.
//!
//! The first caller who misses a key *leads*: it runs its own loader. Callers who come meanwhile *wait* and
//! share the result, an error too. What can end a flight otherwise:
//!
//! - The leader is dropped or panics: one of those who wait leads, with its own loader.
//! - The leader has not ended in the time of a load: the next caller who looks takes the flight over, and the others
//!   wait for that one.
//! - The key is written or deleted: the flight is *detached*. Those in it keep it, later callers start another,
//!   and it does not store. A write of the loaded value that is already on its way is waited for first, or the
//!   two could cross. Flights that begin while the key is being written are detached when that is done.
//!
//! Every claim (to lead, to store a loaded value, to write a key) has an end in time, because the future that holds it
//! may never be polled again. After its end the claim counts for nothing, and its write is not made any more.
//!
//! This file knows nothing of stores or codecs, and of the time what `now` tells; it is checked as a model in
//! `tests/flight_model`, which puts its own `crate::runtime::sync` under it.

// Named, so that the model test finds them too.
#[path = "singleflight/follower.rs"]
mod follower;
#[path = "singleflight/leader.rs"]
mod leader;
#[path = "singleflight/wait_graph.rs"]
mod wait_graph;
#[path = "singleflight/write_guard.rs"]
mod write_guard;

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    mem,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;

use self::wait_graph::Circles;
pub(crate) use self::{
    follower::{Wait, Waited, first},
    leader::Lead,
    write_guard::Writing,
};
use crate::{
    error::Result,
    runtime::sync::{Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError},
};

/// The flights of one alias.
pub(crate) struct Flights {
    table: Mutex<Table>,
    /// How many entries the table has: writers look here first, and most often need no lock.
    active: AtomicUsize,
    /// By hash of the key.
    stripes: [Stripe; STRIPES],
    /// Whether writes take so long that it pays to know exactly which keys are being written. Otherwise the stripe
    /// tells, which has other keys, too.
    writes_wait: bool,
    /// Tells the time since some fixed moment.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

const STRIPES: usize = 64;

#[derive(Default)]
struct Stripe {
    /// How many values of its keys have been written, by flights or otherwise: a caller whose read missed knows by
    /// it whether its miss may be out of date.
    landings: AtomicU64,
    /// How many of its keys are being written now, by calls that wait for nothing: a claim here has no end in time.
    writers: AtomicUsize,
}

#[derive(Default)]
struct Table {
    /// What callers of a key join.
    flights: HashMap<Box<str>, Arc<Flight>>,
    /// Keys with a loaded value on its way to the store.
    storing: HashMap<Box<str>, Store>,
    /// Keys that are being written, and when the claim of each write ends.
    writing: HashMap<Box<str>, Vec<Duration>>,
    next_store: u64,
}

/// A loaded value that is on its way to the store.
struct Store {
    /// Tells it from a later one of the same key.
    id: u64,
    /// When the claim ends.
    until: Duration,
    waiting: Vec<Waker>,
}

/// One load of one key.
struct Flight {
    /// Unique in the process.
    id: u64,
    key: Box<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The key was written, or a waiter took over: the loaded value must not be stored.
    detached: bool,
    /// When the leader's claim ends.
    until: Duration,
    waiters: HashMap<u64, Waker>,
    next_waiter: u64,
}

#[derive(Default)]
enum Phase {
    /// Somebody runs a loader.
    #[default]
    Led,
    /// The leader was dropped; the next waiter who looks leads.
    Abandoned,
    /// The result, for those who wait.
    Landed(Result<Bytes>),
}

/// What a caller who missed a key does.
pub(crate) enum Turn<'a> {
    /// Load it.
    Lead(Lead<'a>),
    /// Wait for another caller's load.
    Wait(Wait<'a>),
}

impl Flights {
    /// For a store whose writes wait for something, or one whose writes are done at once. `now` tells the time.
    pub(crate) fn new(
        writes_wait: bool,
        now: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self {
            now: Box::new(now),
            table: Mutex::default(),
            active: AtomicUsize::new(0),
            stripes: std::array::from_fn(|_| Stripe::default()),
            writes_wait,
        }
    }

    /// How many loads there are, and loaded values on their way to the store. Zero when idle.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// How many loads there are, and have their values stored.
    pub(crate) fn loads(&self) -> usize {
        let table = self.lock();
        let alone = table.storing.keys().filter(|it| !table.flights.contains_key(*it));
        table.flights.len() + alone.count()
    }

    /// A count that differs from an earlier one if the key has been written in between.
    pub(crate) fn landings(&self, key: &str) -> u64 {
        self.stripe(key).landings.load(Ordering::SeqCst)
    }

    /// Cheap, because every write asks: keys differ at their ends.
    fn stripe(&self, key: &str) -> &Stripe {
        let end =
            key.as_bytes().last_chunk().map_or(key.len() as u64, |it| u64::from_le_bytes(*it));
        let mixed = end.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.stripes[usize::try_from(mixed).unwrap_or_default() % STRIPES]
    }

    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    fn after(&self, time: Duration) -> Duration {
        self.now().saturating_add(time)
    }

    /// Begins a write of a key that takes so long at the most: its flight will not store, nor will any that begins before
    /// the end. To be followed by [`detach`](Self::detach).
    pub(crate) fn writing<'a>(&'a self, key: &'a str, lasts: Duration) -> Writing<'a> {
        let mut writing = Writing { flights: self, key, until: None };
        self.stripe(key).writers.fetch_add(1, Ordering::SeqCst);
        if self.writes_wait {
            writing.may_wait(lasts);
        }
        writing
    }

    /// Whether a key is being written, or perhaps.
    fn is_being_written(&self, table: &Table, key: &str) -> bool {
        self.stripe(key).writers.load(Ordering::SeqCst) > 0
            || table.writing.get(key).is_some_and(|it| it.iter().any(|until| self.now() < *until))
    }

    /// A loaded value whose leader was dropped while it was on its way must have arrived.
    pub(crate) fn stored(&self, key: &str, id: u64) {
        let mut table = self.lock();
        let is_this = table.storing.get(key).is_some_and(|it| it.id == id);
        let store = if is_this { table.storing.remove(key) } else { None };
        self.count(&table);
        drop(table);
        store.into_iter().flat_map(|it| it.waiting).for_each(Waker::wake);
    }

    /// Joins the flight of a key, or begins one whose load takes so long at the most. A flight that has not ended in its
    /// time is replaced by a new one, to which its waiters move. An error if waiting would close a circle of loads
    /// that wait for each other.
    pub(crate) fn join(&self, key: &str, lasts: Duration) -> Result<Turn<'_>> {
        let mut table = self.lock();
        let Some(flight) = table.flights.get(key).map(Arc::clone) else {
            return Ok(Turn::Lead(self.begin(&mut table, key, lasts)));
        };
        let mut state = flight.lock();
        if matches!(state.phase, Phase::Led) && state.until <= self.now() {
            drop(state);
            flight.detach(true);
            return Ok(Turn::Lead(self.begin(&mut table, key, lasts)));
        }
        // A place is taken while the flight is known to be there, so that a leader who goes now knows
        // that somebody waits.
        let id = state.take_place();
        drop(state);
        drop(table);
        let mut wait = Wait { flights: self, flight, id, lasts, edge: None };
        wait.edge = Circles::wait_for(&wait.flight)?;
        Ok(Turn::Wait(wait))
    }

    /// A flight that nobody joins and that stores nothing: for a caller who has no use for the result of the others.
    pub(crate) fn alone(&self, key: &str) -> Lead<'_> {
        let flight = Flight::new(key, Duration::MAX);
        flight.lock().detached = true;
        Lead { flights: self, flight, landed: false }
    }

    /// Before a key is written: its flight will not store. Waits for a loaded value that is already on its way,
    /// but no longer than `patience` takes.
    pub(crate) async fn detach(&self, key: &str, patience: impl Future<Output = ()>) {
        if self.active() == 0 {
            return;
        }
        if self.detach_now(key) {
            first(poll_fn(|cx| self.poll_stored(&mut self.lock(), key, cx)), patience).await;
        }
    }

    /// [`detach`](Self::detach) of all keys.
    pub(crate) async fn detach_all(&self, patience: impl Future<Output = ()>) {
        if self.active() == 0 {
            return;
        }
        let storing = self.detach_all_now();
        let all = async {
            for key in &storing {
                poll_fn(|cx| self.poll_stored(&mut self.lock(), key, cx)).await;
            }
        };
        first(all, patience).await;
    }

    /// Detaches the flight of a key; whether a loaded value of it is on its way.
    fn detach_now(&self, key: &str) -> bool {
        let mut table = self.lock();
        if let Some(flight) = table.flights.remove(key) {
            flight.detach(false);
        }
        self.count(&table);
        table.storing.contains_key(key)
    }

    /// Detaches all flights; the keys whose loaded values are on their way.
    fn detach_all_now(&self) -> Vec<Box<str>> {
        let mut table = self.lock();
        for flight in mem::take(&mut table.flights).into_values() {
            flight.detach(false);
        }
        self.count(&table);
        table.storing.keys().cloned().collect()
    }

    fn begin(&self, table: &mut Table, key: &str, lasts: Duration) -> Lead<'_> {
        let flight = Flight::new(key, self.after(lasts));
        table.flights.insert(key.into(), Arc::clone(&flight));
        self.count(table);
        Lead { flights: self, flight, landed: false }
    }

    /// Takes a flight that is over out of the table, unless another has taken its place.
    fn remove(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        if table.flights.get(&flight.key).is_some_and(|it| Arc::ptr_eq(it, flight)) {
            table.flights.remove(&flight.key);
        }
        self.count(&table);
    }

    /// Takes an abandoned flight out of the table if nobody is there to lead it.
    fn remove_abandoned(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        let state = flight.lock();
        if matches!(state.phase, Phase::Abandoned)
            && state.waiters.is_empty()
            && table.flights.get(&flight.key).is_some_and(|it| Arc::ptr_eq(it, flight))
        {
            drop(state);
            table.flights.remove(&flight.key);
        }
        self.count(&table);
    }

    /// Ready when no loaded value of the key is on its way.
    fn poll_stored(&self, table: &mut Table, key: &str, cx: &Context<'_>) -> Poll<()> {
        let Some(store) = table.storing.get_mut(key) else { return Poll::Ready(()) };
        if self.now() < store.until {
            if !store.waiting.iter().any(|it| it.will_wake(cx.waker())) {
                store.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let waiting = mem::take(&mut store.waiting);
        table.storing.remove(key);
        self.count(table);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }

    fn count(&self, table: &Table) {
        self.active.store(table.flights.len() + table.storing.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn new(key: &str, until: Duration) -> Arc<Self> {
        let state = Mutex::new(State { until, ..State::default() });
        Arc::new(Self { id: wait_graph::next_id(), key: key.into(), state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its value is not stored any more. With `end`, those who wait for it begin anew.
    fn detach(&self, end: bool) {
        let mut state = self.lock();
        state.detached = true;
        if end {
            state.phase = Phase::Abandoned;
        }
        // Those who wait for a flight that was abandoned, too.
        state.wake_all();
    }
}

impl State {
    fn take_place(&mut self) -> u64 {
        self.next_waiter += 1;
        self.waiters.insert(self.next_waiter, Waker::noop().clone());
        self.next_waiter
    }

    fn wake_all(&mut self) {
        self.waiters.values().for_each(Waker::wake_by_ref);
    }
}
