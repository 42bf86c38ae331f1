//! The state that leaders, followers and writers of one alias share.

use std::{
    future::{Future, poll_fn},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{claims::KeyHasher, flight::Flight, table::Table};
use crate::runtime::{
    first,
    sync::{Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError},
};

/// The loads of one alias: the table of flights, and the counts that need no lock.
pub(crate) struct Singleflight {
    table: Mutex<Table>,
    /// The number of flights and pending writes in the table. Writers read it first, and usually
    /// need no lock.
    active: AtomicUsize,
    /// By hash of the key.
    stripes: [Stripe; STRIPES],
    /// The number of changes of keys that are not known: clears and invalidations of tags.
    resets: AtomicU64,
    /// Whether writes take long enough that each key being written has its own claim. Otherwise
    /// only the stripe counts writers, for all of its keys.
    pub(super) writes_wait: bool,
    pub(super) hasher: KeyHasher,
    /// Returns the time since some fixed moment.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

const STRIPES: usize = 64;

#[derive(Default)]
pub(super) struct Stripe {
    /// The number of completed writes of its keys. A caller whose read missed compares it to know
    /// whether the miss may be out of date.
    pub(super) write_epoch: AtomicU64,
    /// The number of its keys that are being written by calls that cannot wait. These claims do not
    /// expire.
    pub(super) writers: AtomicUsize,
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
            resets: AtomicU64::new(0),
            writes_wait,
            hasher: KeyHasher::default(),
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

    /// Returns counters that differ from earlier ones if the key was written, cleared or
    /// invalidated in between.
    pub(crate) fn change_epoch(&self, key: &str) -> [u64; 2] {
        [self.write_epoch(key), self.resets.load(Ordering::SeqCst)]
    }

    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    /// Detaches the flight of a key before the key is written. Waits for a loaded value that is
    /// already on its way to the store. When `patience` ends, the value is revoked.
    pub(crate) async fn detach(&self, key: &str, patience: impl Future<Output = ()>) {
        if self.active() == 0 {
            return;
        }
        if self.detach_now(key) {
            self.arrived(key, patience).await;
        }
    }

    /// Detaches the flights of these keys, as [`detach`](Self::detach) does for one.
    pub(crate) async fn detach_many<'a>(
        &self,
        keys: impl Iterator<Item = &'a str>,
        patience: impl Future<Output = ()>,
    ) {
        let pending: Vec<_> = keys.filter(|it| self.detach_now(it)).collect();
        self.all_arrived(&pending, patience).await;
    }

    /// Detaches the flights of all keys, as [`detach`](Self::detach) does for one.
    pub(crate) async fn detach_all(&self, patience: impl Future<Output = ()>) {
        self.all_arrived(&self.detach_all_now(), patience).await;
    }

    /// Detaches the flight of a key that another process has changed. Returns whether a loaded
    /// value of the key is on its way to the store: see [`arrived`](Self::arrived).
    pub(crate) fn changed_elsewhere(&self, key: &str) -> bool {
        self.stripe(key).write_epoch.fetch_add(1, Ordering::SeqCst);
        self.active() > 0 && self.detach_now(key)
    }

    /// Detaches the flights of all keys. Returns the keys whose loaded values are on their way to
    /// the store.
    pub(crate) fn detach_all_now(&self) -> Vec<Box<str>> {
        self.resets.fetch_add(1, Ordering::SeqCst);
        if self.active() == 0 {
            return Vec::new();
        }
        let mut table = self.lock();
        let pending = table.detach_all();
        self.count(&table);
        pending
    }

    /// Waits until no loaded value of a key is on its way to the store. When `patience` ends, the
    /// value is revoked: its write is polled no more.
    pub(crate) async fn arrived(&self, key: &str, patience: impl Future<Output = ()>) {
        self.all_arrived(&[key], patience).await;
    }

    /// Waits as [`arrived`](Self::arrived) does, for all keys at once.
    async fn all_arrived<K: AsRef<str>>(&self, keys: &[K], patience: impl Future<Output = ()>) {
        if keys.is_empty() {
            return;
        }
        let all = async {
            for key in keys {
                poll_fn(|cx| self.poll_arrived(&mut self.lock(), key.as_ref(), cx)).await;
            }
        };
        if first(all, patience).await.is_none() {
            for key in keys {
                // A poll that has begun may have its effect first.
                poll_fn(|cx| self.lock().poll_revoked(key.as_ref(), cx)).await;
            }
        }
    }

    /// Detaches the flights of values with one of these tags. It need not wait for values that are
    /// on their way to the store: they have the old versions of their tags.
    pub(crate) fn detach_tagged(&self, tags: &[u64]) {
        self.resets.fetch_add(1, Ordering::SeqCst);
        if self.active() == 0 {
            return;
        }
        let mut table = self.lock();
        table.detach_tagged(tags);
        self.count(&table);
    }

    /// Lets the loads that no caller waits for end.
    pub(crate) fn release_kept(&self) {
        let flights: Vec<_> = self.lock().flights.values().map(Arc::clone).collect();
        for flight in flights {
            flight.release();
        }
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

    /// Wakes the callers that wait for a loaded value of a key.
    pub(super) fn wake_waiting(&self, key: &str) {
        let waiting = self.lock().take_waiting(key);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Detaches the flight of a key. Returns whether a loaded value of the key is on its way.
    pub(super) fn detach_now(&self, key: &str) -> bool {
        let mut table = self.lock();
        let is_pending = table.detach(key);
        self.count(&table);
        is_pending
    }

    /// Removes a completed flight from the table, unless another has replaced it.
    pub(super) fn remove(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        table.remove(flight);
        self.count(&table);
    }

    /// Removes a flight without leader from the table if no waiter can lead it.
    pub(super) fn remove_abandoned(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        // Checked under the table's lock: a caller may join at any moment before.
        if flight.is_abandoned() {
            table.remove(flight);
        }
        self.count(&table);
    }

    /// Returns whether the key, or perhaps another key of its stripe, is being written.
    pub(super) fn is_being_written(&self, table: &Table, key: &str) -> bool {
        self.stripe(key).writers.load(Ordering::SeqCst) > 0
            || table.claims.has(self.hasher.hash(key), self.now())
    }

    /// Is ready when no loaded value of the key is on its way to the store.
    pub(super) fn poll_arrived(&self, table: &mut Table, key: &str, cx: &Context<'_>) -> Poll<()> {
        let res = table.poll_arrived(key, self.now(), cx);
        self.count(table);
        res
    }

    /// Hashes the end of the key, where keys differ. It is cheap because each write calls it.
    pub(super) fn stripe(&self, key: &str) -> &Stripe {
        let end =
            key.as_bytes().last_chunk().map_or(key.len() as u64, |it| u64::from_le_bytes(*it));
        let mixed = end.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.stripes[usize::try_from(mixed).unwrap_or_default() % STRIPES]
    }

    pub(super) fn after(&self, time: Duration) -> Duration {
        self.now().saturating_add(time)
    }

    pub(super) fn count(&self, table: &Table) {
        self.active.store(table.active(), Ordering::SeqCst);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
