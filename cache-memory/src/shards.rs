//! The engine with what it lacks: expiry, and one writer at a time per shard.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
};

use cache_core::{Clock, StoreId};
use quick_cache::{OptionsBuilder, sync::Cache};

use crate::{
    deadline::nanos,
    entry::{Entry, EntryWeighter},
    evicted::CollectEvicted,
    expiry_index::ExpiryIndex,
    key::{BuildKeyHasher, Key, Lookup},
    limits::Limits,
    shard_guard::ShardGuard,
};

/// The engine with what it lacks: expiry, and one writer at a time per shard.
///
/// `quick_cache` bounds and evicts, and lets readers in parallel, but it can neither change an entry in one step with a
/// look at it, nor tell what expires. So each of its shards has a writers' lock here, which guards the sweeper's records
/// of that shard. Under it nothing in the shard changes but by its holder, evictions too: a look and the write that
/// follows are one step. Readers never take it; they see each write of the engine whole.
pub(crate) struct Shards {
    pub(crate) engine: Engine,
    pub(crate) hashing: BuildKeyHasher,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) id: StoreId,
    shards: Box<[Shard]>,
}

pub(crate) type Engine = Cache<Key, Entry, EntryWeighter, BuildKeyHasher, CollectEvicted>;

/// On a cache line of its own (two, as processors fetch them in pairs), so that writers of different shards do not meet.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard(Mutex<ExpiryIndex>);

impl Shards {
    pub(crate) fn new(limits: Limits, clock: Clock) -> Self {
        let (weigh, hashing) = (EntryWeighter { share: limits.share() }, BuildKeyHasher::default());
        let capacity = limits.shard_bytes() * limits.shards;
        let options = OptionsBuilder::new()
            .shards(limits.shard_count())
            .estimated_items_capacity(limits.expected_entries())
            .weight_capacity(capacity)
            .build();
        let engine = match options {
            Ok(it) => Engine::with_options(it, weigh, hashing.clone(), CollectEvicted),
            // Only if a bound was not set, and they all are.
            Err(_) => Engine::with(
                limits.expected_entries(),
                capacity,
                weigh,
                hashing.clone(),
                CollectEvicted,
            ),
        };
        let shards = (0..engine.num_shards()).map(|_| Shard::default()).collect();
        Self { engine, hashing, clock, limits, id: StoreId::unique(), shards }
    }

    pub(crate) fn lookup<'a>(&self, key: &'a str) -> Lookup<'a> {
        Lookup { hash: self.hashing.hash(key), text: key }
    }

    /// The live entry, for a reader.
    pub(crate) fn get(&self, lookup: &Lookup<'_>) -> Option<Entry> {
        let entry = self.engine.get(lookup)?;
        if !entry.deadline().has_passed(|| self.now()) {
            return Some(entry);
        }
        self.drop_expired(lookup);
        None
    }

    /// Enters the shard of this key as its only writer.
    pub(crate) fn write(&self, lookup: &Lookup<'_>) -> ShardGuard<'_> {
        self.write_shard(self.shard_of(lookup))
    }

    pub(crate) fn shard_of(&self, lookup: &Lookup<'_>) -> usize {
        self.engine.shard_index(lookup)
    }

    pub(crate) fn write_shard(&self, index: usize) -> ShardGuard<'_> {
        ShardGuard::new(self, index, lock(&self.shards[index].0))
    }

    /// As [`write_shard`](Self::write_shard), unless somebody writes there now.
    pub(crate) fn try_write_shard(&self, index: usize) -> Option<ShardGuard<'_>> {
        let expiries = match self.shards[index % self.shards.len()].0.try_lock() {
            Ok(it) => it,
            Err(TryLockError::Poisoned(it)) => it.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(ShardGuard::new(self, index % self.shards.len(), expiries))
    }

    /// Removes every entry whose key is wanted, one at a time, so that nobody waits for more than one.
    pub(crate) fn remove_all(&self, wanted: impl Fn(&str) -> bool) {
        for (key, _) in self.engine.iter() {
            if wanted(key.text()) {
                let lookup = self.lookup(key.text());
                self.write(&lookup).remove(&lookup);
            }
        }
    }

    /// The time by which entries have expired: never ahead of the time by which they are stamped, so none expires early.
    pub(crate) fn now(&self) -> u64 {
        nanos(self.clock.coarse())
    }

    /// A reader came upon an expired entry. It does not wait for a writer, who may remove it as well.
    #[cold]
    fn drop_expired(&self, lookup: &Lookup<'_>) {
        if let Some(mut guard) = self.try_write_shard(self.shard_of(lookup)) {
            guard.remove_if(lookup, |_| false);
        }
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A writer that panicked (which nothing here does) left at worst a record too many or too few, which costs memory
/// or a late sweep and never an answer.
fn lock(shard: &Mutex<ExpiryIndex>) -> MutexGuard<'_, ExpiryIndex> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use cache_core::Expiry;

    use super::*;
    use crate::{deadline::Deadline, limits::RequestedLimits};

    fn records(shards: &Shards) -> usize {
        shards.shards.iter().map(|it| lock(&it.0).len()).sum()
    }

    /// Else the records would outgrow the entries: with long lifetimes, what is evicted or rewritten is not due for long.
    #[test]
    fn the_sweeper_knows_of_every_entry_and_of_no_other() {
        let requested = RequestedLimits { max_entries: Some(3000), ..RequestedLimits::default() };
        let shards = Shards::new(Limits::new(requested).unwrap(), Clock::system());
        for n in 0..50_000_u64 {
            let key = (n * 7919 % 5000).to_string();
            let lookup = shards.lookup(&key);
            let mut guard = shards.write(&lookup);
            let deadline = guard.deadline(Expiry::After(Duration::from_secs(1000 + n % 5000)));
            match n % 10 {
                0 => drop(guard.remove(&lookup)),
                1 => drop(guard.touch(&lookup, deadline)),
                // Values of no bytes, all at one address, and values that grow.
                2 => guard.put(&lookup, Bytes::new(), deadline),
                _ => {
                    let value = vec![0; usize::try_from(n).unwrap() / 20];
                    guard.put(&lookup, value.into(), deadline);
                }
            }
        }
        assert!(shards.engine.len() > 1000);
        assert_eq!(records(&shards), shards.engine.len());
        shards.remove_all(|_| true);
        assert_eq!((records(&shards), shards.engine.len()), (0, 0));
    }

    #[test]
    fn a_reader_does_not_wait_for_a_writer() {
        let shards = Shards::new(Limits::DEFAULT, Clock::system());
        let lookup = shards.lookup("k");
        let mut guard = shards.write(&lookup);
        guard.put(&lookup, Bytes::from_static(b"1"), Deadline::NEVER);
        assert!(shards.get(&lookup).is_some());
        drop(guard);
    }
}
