//! One load per key at a time.
//!
//! The first caller that misses a key *leads*: it runs its own loader. Callers that miss the key
//! meanwhile *wait* and share the result, also an error. A load can also end in these ways:
//!
//! - The leader is dropped or panics: one of the waiters leads and runs its own loader.
//! - The load is not complete within its time: the next caller that joins replaces the flight with
//!   its own, and the waiters move there.
//! - The key is written or deleted: the flight is *detached*. Its callers keep it, later callers
//!   start another, and the loaded value is not stored. If the loaded value is already on its way
//!   to the store, the writer waits for it first, so that the two writes cannot cross. Flights that
//!   begin during the write are detached when it ends.
//!
//! Each claim (to lead, to store a loaded value, to write a key) expires, because its future may
//! never be polled again. After that the claim has no effect and its write is not made.
//!
//! This module does not depend on stores, codecs or a clock. `tests/flight_model` checks it as a
//! model, with its own `crate::runtime`.

// The paths are explicit so that the model test finds the files.
#[path = "singleflight/flight.rs"]
mod flight;
#[path = "singleflight/follower.rs"]
mod follower;
#[path = "singleflight/leader.rs"]
mod leader;
#[path = "singleflight/table.rs"]
mod table;
#[path = "singleflight/wait_graph.rs"]
mod wait_graph;
#[path = "singleflight/write_guard.rs"]
mod write_guard;

use std::{
    future::{Future, poll_fn},
    task::{Context, Poll, Waker},
    time::Duration,
};

use self::{flight::Flight, table::Table};
pub(crate) use self::{
    follower::{Wait, WaitOutcome},
    leader::Lead,
    write_guard::WriteGuard,
};
use crate::{
    error::Result,
    runtime::{
        first,
        sync::{Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError},
    },
};

/// The loads of one alias.
pub(crate) struct Singleflight {
    table: Mutex<Table>,
    /// The number of flights and pending writes in the table. Writers read it first, and usually
    /// need no lock.
    active: AtomicUsize,
    /// By hash of the key.
    stripes: [Stripe; STRIPES],
    /// Whether writes take long enough that each key being written has its own claim. Otherwise
    /// only the stripe counts writers, for all of its keys.
    writes_wait: bool,
    /// Returns the time since some fixed moment.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

const STRIPES: usize = 64;

#[derive(Default)]
struct Stripe {
    /// The number of completed writes of its keys. A caller whose read missed compares it to know
    /// whether the miss may be out of date.
    write_epoch: AtomicU64,
    /// The number of its keys that are being written by calls that cannot wait. These claims do not
    /// expire.
    writers: AtomicUsize,
}

/// The role of a caller that missed a key.
pub(crate) enum Joined {
    /// It loads the value.
    Lead(Lead),
    /// It waits for another caller's load.
    Wait(Wait),
}

impl Singleflight {
    /// Creates the table for a store. `writes_wait` is true if its writes may wait, and `now`
    /// returns the time since some fixed moment.
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

    /// Returns the number of flights and pending writes, which is zero when idle.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Returns the number of keys that are being loaded or whose loaded value is being stored.
    pub(crate) fn loads(&self) -> usize {
        self.lock().loads()
    }

    /// Returns a counter that differs from an earlier one if the key was written in between.
    pub(crate) fn write_epoch(&self, key: &str) -> u64 {
        self.stripe(key).write_epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    /// Joins the flight of a key, or begins one whose load may take `lasts`. A flight that exceeded
    /// its time is replaced by a new one, to which its waiters move.
    ///
    /// # Errors
    /// `Loader` if waiting would close a circle of loads that wait for each other.
    pub(crate) fn join(self: &Arc<Self>, key: &str, lasts: Duration) -> Result<Joined> {
        let mut table = self.lock();
        let Some(flight) = table.flights.get(key).map(Arc::clone) else {
            return Ok(Joined::Lead(self.begin(&mut table, key, lasts)));
        };
        // The waiter is added under the table's lock: a leader that is dropped now sees it.
        let Some(id) = flight.add_waiter(self.now()) else {
            flight.close();
            return Ok(Joined::Lead(self.begin(&mut table, key, lasts)));
        };
        drop(table);
        Wait::new(self, flight, id, lasts).map(Joined::Wait)
    }

    /// Begins a flight that no other caller joins and that stores nothing: for a caller that cannot
    /// use the result of the others.
    pub(crate) fn alone(self: &Arc<Self>, key: &str) -> Lead {
        let flight = Flight::new(key, Duration::MAX);
        flight.detach();
        Lead::new(self, flight)
    }

    /// Begins a write that takes at most `lasts`: neither the key's flight nor any that begins
    /// before the write ends will store its value. The caller then calls [`detach`](Self::detach).
    pub(crate) fn begin_write<'a>(&'a self, key: &'a str, lasts: Duration) -> WriteGuard<'a> {
        let mut guard = WriteGuard::new(self, key);
        if self.writes_wait {
            guard.expire_after(lasts);
        }
        guard
    }

    /// Detaches the flight of a key before the key is written. Waits for a loaded value that is
    /// already on its way to the store, until `patience` ends.
    pub(crate) async fn detach(&self, key: &str, patience: impl Future<Output = ()>) {
        if self.active() == 0 {
            return;
        }
        if self.detach_now(key) {
            let arrived = poll_fn(|cx| self.poll_arrived(&mut self.lock(), key, cx));
            first(arrived, patience).await;
        }
    }

    /// Detaches the flights of all keys, as [`detach`](Self::detach) does for one.
    pub(crate) async fn detach_all(&self, patience: impl Future<Output = ()>) {
        if self.active() == 0 {
            return;
        }
        let pending = {
            let mut table = self.lock();
            let pending = table.detach_all();
            self.count(&table);
            pending
        };
        let all = async {
            for key in &pending {
                poll_fn(|cx| self.poll_arrived(&mut self.lock(), key, cx)).await;
            }
        };
        first(all, patience).await;
    }

    /// Ends the pending write with this number, whose leader was dropped: the write must have
    /// reached the store by now.
    pub(crate) fn write_arrived(&self, key: &str, id: u64) {
        let mut table = self.lock();
        let waiting = table.end_write(key, id);
        self.count(&table);
        drop(table);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Detaches the flight of a key. Returns whether a loaded value of the key is on its way.
    fn detach_now(&self, key: &str) -> bool {
        let mut table = self.lock();
        let is_pending = table.detach(key);
        self.count(&table);
        is_pending
    }

    fn begin(self: &Arc<Self>, table: &mut Table, key: &str, lasts: Duration) -> Lead {
        let flight = Flight::new(key, self.after(lasts));
        table.flights.insert(key.into(), Arc::clone(&flight));
        self.count(table);
        Lead::new(self, flight)
    }

    /// Removes a completed flight from the table, unless another has replaced it.
    fn remove(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        table.remove(flight);
        self.count(&table);
    }

    /// Removes a flight without leader from the table if no waiter can lead it.
    fn remove_abandoned(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        // Checked under the table's lock: a caller may join at any moment before.
        if flight.is_abandoned() {
            table.remove(flight);
        }
        self.count(&table);
    }

    /// Returns whether the key, or perhaps another key of its stripe, is being written.
    fn is_being_written(&self, table: &Table, key: &str) -> bool {
        self.stripe(key).writers.load(Ordering::SeqCst) > 0 || table.has_claim(key, self.now())
    }

    /// Is ready when no loaded value of the key is on its way to the store.
    fn poll_arrived(&self, table: &mut Table, key: &str, cx: &Context<'_>) -> Poll<()> {
        let res = table.poll_arrived(key, self.now(), cx);
        self.count(table);
        res
    }

    /// Hashes the end of the key, where keys differ. It is cheap because each write calls it.
    fn stripe(&self, key: &str) -> &Stripe {
        let end =
            key.as_bytes().last_chunk().map_or(key.len() as u64, |it| u64::from_le_bytes(*it));
        let mixed = end.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.stripes[usize::try_from(mixed).unwrap_or_default() % STRIPES]
    }

    fn after(&self, time: Duration) -> Duration {
        self.now().saturating_add(time)
    }

    fn count(&self, table: &Table) {
        self.active.store(table.active(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
