//! A stored entry and its weight.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;

use crate::{deadline::Deadline, key::Key};

/// A value with its deadline.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) data: Bytes,
    /// Atomic only to allow a change in place, which happens under the lock of the entry's shard.
    deadline: AtomicU64,
}

/// The cost of an entry in addition to its key and its value, in bytes: its slot and its place in
/// the hash table (both grow by doubling), the allocations of key and value, the reference count
/// that the first read of a value allocates, its record in the expiry index, and its share of the
/// history of evicted keys.
pub(crate) const OVERHEAD: u64 = 160;

/// Weighs entries such that a single sum enforces both bounds: an entry weighs its cost, but at
/// least `share`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryWeighter {
    pub(crate) share: u64,
}

impl Entry {
    pub(crate) fn new(data: Bytes, deadline: Deadline) -> Self {
        Self { data, deadline: AtomicU64::new(deadline.to_bits()) }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::from_bits(self.deadline.load(Ordering::Relaxed))
    }

    pub(crate) fn set_deadline(&self, deadline: Deadline) {
        self.deadline.store(deadline.to_bits(), Ordering::Relaxed);
    }
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        Self::new(self.data.clone(), self.deadline())
    }
}

/// The cost of an entry in bytes.
pub(crate) fn cost(key: &str, value: &[u8]) -> u64 {
    OVERHEAD + key.len() as u64 + value.len() as u64
}

impl Weighter<Key, Entry> for EntryWeighter {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        cost(key.text(), &entry.data).max(self.share)
    }
}
