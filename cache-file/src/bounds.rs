//! The limits of a store: when it is too full, and how much to evict.

use crate::{
    counters::{BLOCK, Count},
    options::Plan,
    recycler,
};

/// The limits of a store.
#[derive(Debug)]
pub(crate) struct Bounds {
    max_entries: u64,
    /// Without the bytes that are reserved for spare files.
    max_bytes: u64,
}

/// The maximum number of live entries to evict from a sample. With fewer, the evicted entries would
/// be older, and each would cost more reads.
const EVICTED: u64 = 4;

impl Bounds {
    pub(crate) fn of(plan: &Plan) -> Self {
        let max_bytes = plan.max_bytes - recycler::reserved_bytes(plan);
        Self { max_entries: plan.max_entries, max_bytes }
    }

    /// Returns whether the store exceeds a limit.
    pub(crate) fn are_exceeded(&self, total: Count) -> bool {
        total.entries > self.max_entries || total.bytes > self.max_bytes
    }

    /// Returns whether there is room, with some left for the next writes. A store of a few large
    /// values does not lose all of them for one more.
    pub(crate) fn have_room(&self, total: Count) -> bool {
        let blocks = (self.max_bytes / BLOCK / 64).min(EVICTED - 1);
        total.entries.saturating_add(self.evicted_per_sample())
            <= self.max_entries.saturating_add(1)
            && total.bytes.saturating_add(blocks * BLOCK) <= self.max_bytes
    }

    /// Returns the maximum number of live entries to evict from one sample. A few writes must not
    /// empty a small store.
    pub(crate) fn evicted_per_sample(&self) -> u64 {
        (self.max_entries / 64).clamp(1, EVICTED)
    }
}
