//! Counters of the reads of each keyspace.

use std::{
    array, iter,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::outcome::Outcome;

/// The reads that were made through the keyspaces of one label, from
/// [`Stats::keyspaces`](crate::Stats::keyspaces).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyspaceStats {
    /// Keys that had a value. Of a `get_or_set`, those for which its own loader did not run.
    pub hits: u64,
    /// Keys that had no value, or whose value was loaded.
    pub misses: u64,
    /// Fetches that returned a stale value.
    pub stale: u64,
    /// Fetches that found the stored answer that there is no value.
    pub absent: u64,
}

/// The counters by label: a list that only grows. Labels are part of the program, so it stays
/// short. It has no lock, because a lock that is held during a fork stays locked in the child.
#[derive(Default)]
pub(super) struct Keyspaces(OnceLock<Box<Keyspace>>);

struct Keyspace {
    label: &'static str,
    /// In the order of `COUNTED`.
    counts: [AtomicU64; COUNTED.len()],
    next: Keyspaces,
}

const COUNTED: [Outcome; 4] = [Outcome::Hit, Outcome::Miss, Outcome::Stale, Outcome::Absent];

impl Keyspaces {
    /// Counts `n` reads.
    pub(super) fn add(&self, label: &'static str, outcome: Outcome, n: u64) {
        let Some(place) = COUNTED.iter().position(|it| *it == outcome) else { return };
        let mut rest = self;
        loop {
            let keyspace = rest.0.get_or_init(|| Box::new(Keyspace::new(label)));
            // Another thread may have added another label.
            if keyspace.label == label {
                keyspace.counts[place].fetch_add(n, Relaxed);
                return;
            }
            rest = &keyspace.next;
        }
    }

    /// Returns the labels with their counts.
    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, KeyspaceStats)> {
        iter::successors(self.0.get(), |it| it.next.0.get()).map(|it| {
            let [hits, misses, stale, absent] = it.counts.each_ref().map(|it| it.load(Relaxed));
            (it.label, KeyspaceStats { hits, misses, stale, absent })
        })
    }
}

impl Keyspace {
    fn new(label: &'static str) -> Self {
        let counts = array::from_fn(|_| AtomicU64::new(0));
        Self { label, counts, next: Keyspaces::default() }
    }
}

impl KeyspaceStats {
    /// Adds the reads of another thread.
    pub(super) fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.stale += other.stale;
        self.absent += other.absent;
    }
}
