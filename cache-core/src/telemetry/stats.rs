//! Counters per alias and operation.

use std::{
    array,
    cell::Cell,
    collections::BTreeMap,
    fmt,
    ops::Index,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::keyspaces::{KeyspaceStats, Keyspaces};
pub(crate) use super::outcome::Outcome;
use crate::{
    bus::BusStats,
    error::ErrorKind,
    layer::{BreakerState, Operation},
    near::NearStats,
};

/// The counters of a cache since it was built, from [`Cache::stats`](crate::Cache::stats).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// # use cache_core::{Cache, Timeout, layer::Operation}; use cache_memory::Memory;
/// let cache = Cache::new("test", Memory::new());
/// cache.set("k", &1, Timeout::Default).await?;
/// cache.get::<i32>("k").await?;
/// cache.get::<i32>("other").await?;
///
/// let stats = cache.stats();
/// assert_eq!((stats[Operation::Get].hits, stats[Operation::Get].misses), (1, 1));
/// assert_eq!(stats[Operation::Set].done, 1);
/// assert_eq!(stats.total().failures, 0);
/// assert!(format!("{stats:?}").starts_with("Stats { get: OperationStats { hits: 1, misses: 1,"));
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    operations: [OperationStats; OPERATIONS],
    /// Reads through a [`Keyspace`](crate::Keyspace), by its label.
    pub keyspaces: BTreeMap<&'static str, KeyspaceStats>,
    /// Loaders that ran.
    pub loads: u64,
    /// Loaders that failed.
    pub load_failures: u64,
    /// Callers that shared another caller's load.
    pub loads_shared: u64,
    /// Loaded values that could not be stored.
    pub load_writes_failed: u64,
    /// Loaded values that were not stored because their key was written or deleted since the load
    /// began: in this process, or in any process if the load was fenced.
    pub load_writes_refused: u64,
    /// Loads that began in the background, for a stale value or ahead of its expiry.
    pub refreshes: u64,
    /// Loads that did not begin in the background, because `max_refreshes` did.
    pub refreshes_skipped: u64,
    /// Loads in the background in progress.
    pub active_refreshes: u64,
    /// Stored bytes that could not be decoded as the requested type, were damaged, or were not a
    /// byte string; each was also a miss.
    pub undecodable: u64,
    /// Values with a revision, loaded values and deletes with a revision that had no effect,
    /// because the key had a newer revision.
    pub revisions_refused: u64,
    /// Keys that read as misses until their old entry is removed, because a write of them failed
    /// open.
    pub tombstones: u64,
    /// Keys that were not marked individually because there was no room: a filter marks them,
    /// together with a few other keys.
    pub tombstones_lost: u64,
    /// Marked keys whose old entry was removed or was already absent.
    pub tombstones_removed: u64,
    /// Loads in progress.
    pub active_loads: u64,
    /// The total duration of loaders.
    pub load_time: Duration,
    /// The state of the store's circuit breaker; `None` if the store has none, or keeps one per
    /// server itself.
    pub breaker: Option<BreakerState>,
    /// The counters of the near tier; `None` if the cache has none.
    pub near: Option<NearStats>,
    /// The counters of memory on a bus; `None` if the cache has no bus.
    pub bus: Option<BusStats>,
    errors: [u64; KINDS],
}

/// The counters of one operation. A batch counts each of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationStats {
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found no value; failed reads are not counted here.
    pub misses: u64,
    /// Fetches that returned a stale value.
    pub stale: u64,
    /// Fetches that found the stored answer that there is no value.
    pub absent: u64,
    /// Writes that ran, with any result.
    pub done: u64,
    /// Calls that failed because of the store: the caller saw the error, or `fail_open` hid it.
    pub failures: u64,
    /// Calls that were refused, because of an invalid key, a value that cannot be stored, or an
    /// increment of text.
    pub refused: u64,
}

impl Stats {
    /// Returns the number of calls that ended with an error of this kind: the caller saw it, or
    /// `fail_open` hid it.
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// Returns the sum over all operations. The read of a `get_or_set` counts as `GetOrSet`, its
    /// write as `Set`.
    pub fn total(&self) -> OperationStats {
        Operation::ALL.iter().copied().map(|it| self[it]).fold(OperationStats::default(), |a, b| {
            OperationStats {
                hits: a.hits + b.hits,
                misses: a.misses + b.misses,
                stale: a.stale + b.stale,
                absent: a.absent + b.absent,
                done: a.done + b.done,
                failures: a.failures + b.failures,
                refused: a.refused + b.refused,
            }
        })
    }
}

/// The counters of one operation.
impl Index<Operation> for Stats {
    type Output = OperationStats;

    fn index(&self, operation: Operation) -> &OperationStats {
        &self.operations[operation as usize]
    }
}

/// Prints the non-zero counters.
#[expect(clippy::missing_fields_in_debug, reason = "counters by their names, without zeros")]
impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut res = f.debug_struct("Stats");
        for &it in Operation::ALL {
            if self[it] != OperationStats::default() {
                res.field(it.as_str(), &self[it]);
            }
        }
        if !self.keyspaces.is_empty() {
            res.field("keyspaces", &self.keyspaces);
        }
        for (name, count) in [
            ("loads", self.loads),
            ("load_failures", self.load_failures),
            ("loads_shared", self.loads_shared),
            ("load_writes_failed", self.load_writes_failed),
            ("load_writes_refused", self.load_writes_refused),
            ("refreshes", self.refreshes),
            ("refreshes_skipped", self.refreshes_skipped),
            ("active_refreshes", self.active_refreshes),
            ("undecodable", self.undecodable),
            ("revisions_refused", self.revisions_refused),
            ("tombstones", self.tombstones),
            ("tombstones_lost", self.tombstones_lost),
            ("tombstones_removed", self.tombstones_removed),
            ("active_loads", self.active_loads),
        ] {
            if count > 0 {
                res.field(name, &count);
            }
        }
        if self.load_time > Duration::ZERO {
            res.field("load_time", &self.load_time);
        }
        if let Some(breaker) = self.breaker {
            res.field("breaker", &breaker);
        }
        if let Some(near) = &self.near {
            res.field("near", near);
        }
        if let Some(bus) = &self.bus {
            res.field("bus", bus);
        }
        for &it in ErrorKind::ALL {
            if self.errors(it) > 0 {
                res.field(it.name(), &self.errors(it));
            }
        }
        res.finish()
    }
}

const OPERATIONS: usize = Operation::ALL.len();

const OUTCOMES: usize = 7;

const KINDS: usize = ErrorKind::ALL.len();

/// An event that is counted independently of operations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Load,
    LoadFailed,
    LoadShared,
    LoadWriteFailed,
    LoadWriteRefused,
    Refresh,
    RefreshSkipped,
    Undecodable,
    RevisionRefused,
    MarkLost,
    MarkSettled,
    NearHit,
    NearMiss,
    NearBypassed,
    BusBypassed,
}

const EVENTS: usize = Event::BusBypassed as usize + 1;

/// The counters: several sets of them, so that threads do not contend for one cache line. Clones
/// count together.
#[derive(Clone)]
pub(crate) struct Counters(Arc<[Stripe; STRIPES]>);

const STRIPES: usize = 8;

#[repr(align(128))]
struct Stripe {
    operations: [[AtomicU64; OUTCOMES]; OPERATIONS],
    events: [AtomicU64; EVENTS],
    errors: [AtomicU64; KINDS],
    load_nanos: AtomicU64,
    keyspaces: Keyspaces,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self(Arc::new(array::from_fn(|_| Stripe {
            operations: array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))),
            events: array::from_fn(|_| AtomicU64::new(0)),
            errors: array::from_fn(|_| AtomicU64::new(0)),
            load_nanos: AtomicU64::new(0),
            keyspaces: Keyspaces::default(),
        })))
    }

    #[inline]
    pub(crate) fn count(&self, operation: Operation, outcome: Outcome) {
        self.add(operation, outcome, 1);
    }

    #[inline]
    pub(crate) fn add(&self, operation: Operation, outcome: Outcome, n: u64) {
        self.stripe().operations[operation as usize][outcome as usize].fetch_add(n, Relaxed);
    }

    pub(crate) fn event(&self, event: Event) {
        self.add_event(event, 1);
    }

    pub(crate) fn add_event(&self, event: Event, n: u64) {
        self.stripe().events[event as usize].fetch_add(n, Relaxed);
    }

    pub(crate) fn error(&self, kind: ErrorKind) {
        self.stripe().errors[kind as usize].fetch_add(1, Relaxed);
    }

    /// Counts `n` reads of a keyspace.
    pub(crate) fn keyspace(&self, label: &'static str, outcome: Outcome, n: u64) {
        self.stripe().keyspaces.add(label, outcome, n);
    }

    pub(crate) fn load_took(&self, time: Duration) {
        let nanos = time.as_nanos().try_into().unwrap_or(u64::MAX);
        self.stripe().load_nanos.fetch_add(nanos, Relaxed);
    }

    #[inline]
    fn stripe(&self) -> &Stripe {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let mut mine = MINE.get();
        if mine == usize::MAX {
            mine = NEXT.fetch_add(1, Relaxed) % STRIPES;
            MINE.set(mine);
        }
        &self.0[mine]
    }

    /// Returns how often an event was counted.
    pub(crate) fn sum(&self, event: Event) -> u64 {
        self.0.iter().map(|it| it.events[event as usize].load(Relaxed)).sum()
    }

    /// Returns the sums of the counters, with the given gauges. The caller adds those of memory in
    /// front of a store or on a bus.
    pub(crate) fn read(
        &self,
        tombstones: usize,
        active_loads: usize,
        active_refreshes: usize,
        breaker: Option<BreakerState>,
    ) -> Stats {
        let nanos: u64 = self.0.iter().map(|s| s.load_nanos.load(Relaxed)).sum();
        let mut keyspaces = BTreeMap::<_, KeyspaceStats>::new();
        for (label, stats) in self.0.iter().flat_map(|it| it.keyspaces.read()) {
            keyspaces.entry(label).or_default().add(stats);
        }
        let event = |it: Event| self.sum(it);
        Stats {
            operations: array::from_fn(|n| {
                let sum = |it: Outcome| {
                    self.0.iter().map(|s| s.operations[n][it as usize].load(Relaxed)).sum()
                };
                OperationStats {
                    hits: sum(Outcome::Hit),
                    misses: sum(Outcome::Miss),
                    stale: sum(Outcome::Stale),
                    absent: sum(Outcome::Absent),
                    done: sum(Outcome::Done),
                    failures: sum(Outcome::Failed),
                    refused: sum(Outcome::Refused),
                }
            }),
            keyspaces,
            loads: event(Event::Load),
            load_failures: event(Event::LoadFailed),
            loads_shared: event(Event::LoadShared),
            load_writes_failed: event(Event::LoadWriteFailed),
            load_writes_refused: event(Event::LoadWriteRefused),
            refreshes: event(Event::Refresh),
            refreshes_skipped: event(Event::RefreshSkipped),
            active_refreshes: active_refreshes as u64,
            undecodable: event(Event::Undecodable),
            revisions_refused: event(Event::RevisionRefused),
            tombstones_lost: event(Event::MarkLost),
            tombstones_removed: event(Event::MarkSettled),
            tombstones: tombstones as u64,
            active_loads: active_loads as u64,
            load_time: Duration::from_nanos(nanos),
            breaker,
            near: None,
            bus: None,
            errors: array::from_fn(|n| self.0.iter().map(|s| s.errors[n].load(Relaxed)).sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_kinds_are_numbered_as_they_are_listed() {
        for (n, operation) in Operation::ALL.iter().copied().enumerate() {
            assert_eq!(operation as usize, n);
        }
        for (n, kind) in ErrorKind::ALL.iter().copied().enumerate() {
            assert_eq!(kind as usize, n);
        }
    }
}
