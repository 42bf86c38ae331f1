//! The cache engine, with a writers' lock and an expiry index for each of its shards.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
};

use cache_core::{Clock, store::StoreId};
use quick_cache::{OptionsBuilder, sync::Cache};

use crate::{
    deadline::nanos,
    entry::{Entry, EntryWeighter},
    evicted::CollectEvicted,
    expiry_index::ExpiryIndex,
    key::{HashAsIs, KeyHashing, Lookup},
    limits::Limits,
};

/// The cache engine, with a writers' lock and an expiry index for each of its shards.
///
/// `quick_cache` bounds, evicts and serves readers in parallel. It can neither check and change an
/// entry in one step, nor find expired entries. So each of its shards has a writers' lock here,
/// which guards the expiry index of that shard. Only the lock's holder changes the shard, evictions
/// included, so a check and the write that follows are one step. Readers never take the lock; they
/// see each write of the engine either completely or not at all.
pub(crate) struct Shards {
    pub(crate) engine: Engine,
    hashing: KeyHashing,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) id: StoreId,
    locks: Box<[Shard]>,
}

pub(crate) type Engine = Cache<u64, Entry, EntryWeighter, HashAsIs, CollectEvicted>;

/// Aligned to two cache lines, which processors fetch as a pair: writers of different shards do
/// not share one.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard(Mutex<ExpiryIndex>);

impl Shards {
    pub(crate) fn new(limits: Limits, clock: Clock) -> Self {
        let (weigh, hashing) = (EntryWeighter { share: limits.share() }, HashAsIs::default());
        let capacity = limits.shard_bytes() * limits.shards;
        let options = OptionsBuilder::new()
            .shards(limits.shard_count())
            .estimated_items_capacity(limits.expected_entries())
            .weight_capacity(capacity)
            .build();
        let engine = match options {
            Ok(it) => Engine::with_options(it, weigh, hashing, CollectEvicted),
            // Happens only if an option was not set; all are set above.
            Err(_) => {
                Engine::with(limits.expected_entries(), capacity, weigh, hashing, CollectEvicted)
            }
        };
        let locks = (0..engine.num_shards()).map(|_| Shard::default()).collect();
        let hashing = KeyHashing::default();
        Self { engine, hashing, clock, limits, id: StoreId::unique(), locks }
    }

    pub(crate) fn lookup<'a>(&self, key: &'a str) -> Lookup<'a> {
        self.hashing.lookup(key)
    }

    pub(crate) fn shard_of(&self, lookup: &Lookup<'_>) -> usize {
        self.engine.shard_index(&lookup.hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.locks.len()
    }

    /// Waits for the writers' lock of a shard.
    pub(crate) fn lock(&self, shard: usize) -> MutexGuard<'_, ExpiryIndex> {
        // A writer that panicked (none here does) left at worst a record too many or too few in the
        // index. That costs memory or delays a sweep; no answer depends on it.
        self.locks[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the writers' lock of a shard if it is free.
    pub(crate) fn try_lock(&self, shard: usize) -> Option<MutexGuard<'_, ExpiryIndex>> {
        match self.locks[shard].0.try_lock() {
            Ok(it) => Some(it),
            Err(TryLockError::Poisoned(it)) => Some(it.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The time that decides what has expired. It is never ahead of the time that deadlines are
    /// computed from, so no entry expires early.
    pub(crate) fn now(&self) -> u64 {
        nanos(self.clock.coarse())
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("limits", &self.limits).finish_non_exhaustive()
    }
}
