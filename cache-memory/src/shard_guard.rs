//! The exclusive writer of one shard: the steps that the operations consist of.

use std::sync::MutexGuard;

use bytes::Bytes;
use cache_core::store::Expiry;

use crate::{
    deadline::{Deadline, nanos},
    entry::Entry,
    evicted::Evicted,
    expiry_index::ExpiryIndex,
    key::{HashLookup, Lookup},
    shards::Shards,
};

/// The exclusive writer of a shard, until it is dropped.
pub(crate) struct ShardGuard<'a> {
    shards: &'a Shards,
    shard: usize,
    /// Read after the lock was taken: an entry that an earlier writer saw as expired is expired for
    /// this one, too.
    now: u64,
    expiries: MutexGuard<'a, ExpiryIndex>,
    /// Declared after the lock, so that it is dropped after the lock is released.
    deferred_drops: Evicted,
}

/// How many due records a write checks: more than it creates, so that sweeping catches up, and few
/// enough that it takes no longer than other writes.
const SWEPT_PER_WRITE: usize = 8;
/// After this many writes a shard sweeps another shard too, so that expired entries are removed
/// from shards without writes.
const HELP_EVERY: usize = 16;

impl<'a> ShardGuard<'a> {
    /// Waits for the writers' lock of the shard of this key.
    pub(crate) fn of_key(shards: &'a Shards, lookup: &Lookup<'_>) -> Self {
        Self::lock(shards, shards.shard_of(lookup))
    }

    /// Waits for the writers' lock of this shard.
    pub(crate) fn lock(shards: &'a Shards, shard: usize) -> Self {
        Self::new(shards, shard, shards.lock(shard))
    }

    /// Returns a guard if the shard has no writer now.
    pub(crate) fn try_lock(shards: &'a Shards, shard: usize) -> Option<Self> {
        shards.try_lock(shard).map(|expiries| Self::new(shards, shard, expiries))
    }

    fn new(shards: &'a Shards, shard: usize, expiries: MutexGuard<'a, ExpiryIndex>) -> Self {
        Self { shards, shard, now: shards.now(), expiries, deferred_drops: Evicted::default() }
    }

    /// Calls `read` with the live entry. It gets a reference, not a copy: a copy counts references,
    /// and the first copy of a value allocates the count.
    pub(crate) fn peek<R>(
        &mut self,
        lookup: &Lookup<'_>,
        read: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let mut res = None;
        self.remove_if(lookup, |entry| {
            res = Some(read(entry));
            false
        });
        res
    }

    /// Writes an entry, whether or not one exists. The caller has checked its size.
    pub(crate) fn put(&mut self, lookup: &Lookup<'_>, data: Bytes, deadline: Deadline) {
        let data_at = data.as_ptr();
        let mut old = Deadline::NEVER;
        let (mut key, mut entry) = (lookup.to_key(), Entry::new(data, deadline));
        loop {
            let mut evicted = Evicted::default();
            self.shards.engine.insert_with_lifecycle(key, entry, &mut evicted);
            // If an entry grows, the engine may evict that same entry to make room. Then the key is
            // new to the engine in the next round, and it makes room before it inserts; so at most
            // three rounds are needed.
            let may_be_out = evicted.iter().any(|(_, it)| it.data.as_ptr() == data_at);
            let is_out = may_be_out && !self.shards.engine.contains_key(lookup);
            let back = if is_out { evicted.take(lookup.text) } else { None };
            for (key, entry) in evicted.iter() {
                if key.text() == lookup.text {
                    old = entry.deadline();
                } else {
                    let hash = self.shards.hashing.hash(key.text());
                    self.expiries.remove(hash, entry.deadline());
                }
            }
            self.deferred_drops = evicted;
            match back {
                Some(it) => (key, entry) = it,
                None => break,
            }
        }
        self.expiries.update(lookup.hash, old, deadline);
        self.sweep();
    }

    /// Sets the deadline of the live entry. Returns whether it exists.
    pub(crate) fn touch(&mut self, lookup: &Lookup<'_>, deadline: Deadline) -> bool {
        let old = self.peek(lookup, |entry| {
            let old = entry.deadline();
            entry.set_deadline(deadline);
            old
        });
        if let Some(old) = old {
            self.expiries.update(lookup.hash, old, deadline);
        }
        self.sweep();
        old.is_some()
    }

    /// Removes the entry. Returns it if it was live.
    pub(crate) fn remove(&mut self, lookup: &Lookup<'_>) -> Option<Entry> {
        self.remove_if(lookup, |_| true)
    }

    /// Removes an expired entry, and a live one if `predicate` returns true. Returns the live one.
    pub(crate) fn remove_if(
        &mut self,
        lookup: &Lookup<'_>,
        predicate: impl FnOnce(&Entry) -> bool,
    ) -> Option<Entry> {
        let now = self.now;
        let has_expired = |entry: &Entry| entry.deadline().has_passed(|| now);
        let removed =
            self.shards.engine.remove_if(lookup, |entry| has_expired(entry) || predicate(entry));
        let (_, entry) = removed?;
        self.expiries.remove(lookup.hash, entry.deadline());
        (!has_expired(&entry)).then_some(entry)
    }

    /// The deadline of an entry that is written now.
    pub(crate) fn deadline(&self, expiry: Expiry) -> Deadline {
        match expiry {
            Expiry::Never => Deadline::NEVER,
            Expiry::After(lifetime) => Deadline::after(nanos(self.shards.clock.now()), lifetime),
        }
    }

    /// Removes a few expired entries, as part of every write; sometimes in another shard, too.
    fn sweep(&mut self) {
        self.sweep_this_shard();
        let writes = self.expiries.count_write();
        if writes.is_multiple_of(HELP_EVERY) {
            let other = (self.shard + writes / HELP_EVERY) % self.shards.len();
            if let Some(mut other) = Self::try_lock(self.shards, other) {
                other.sweep_this_shard();
            }
        }
    }

    fn sweep_this_shard(&mut self) {
        let now = self.now;
        for _ in 0..SWEPT_PER_WRITE {
            let Some(hash) = self.expiries.next_due(|| now) else { return };
            let lookup = HashLookup { hash, hashing: &self.shards.hashing };
            // An entry that was written again has a new record, and its deadline has not passed.
            self.shards.engine.remove_if(&lookup, |entry| entry.deadline().has_passed(|| now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::Clock;

    use super::*;
    use crate::limits::{Limits, RequestedLimits};

    fn records(shards: &Shards) -> usize {
        (0..shards.len()).map(|shard| shards.lock(shard).len()).sum()
    }

    /// Otherwise the records would outgrow the entries: with long lifetimes, the records of evicted
    /// and rewritten entries are not due for long.
    #[test]
    fn expiry_index_has_exactly_one_record_per_entry() {
        let requested = RequestedLimits { max_entries: Some(3000), ..RequestedLimits::default() };
        let shards = Shards::new(Limits::new(requested).unwrap(), Clock::system());
        for n in 0..50_000_u64 {
            let key = (n * 7919 % 5000).to_string();
            let lookup = shards.lookup(&key);
            let mut guard = ShardGuard::of_key(&shards, &lookup);
            let deadline = guard.deadline(Expiry::After(Duration::from_secs(1000 + n % 5000)));
            match n % 10 {
                0 => drop(guard.remove(&lookup)),
                1 => drop(guard.touch(&lookup, deadline)),
                // Empty values all have one address; the other values grow.
                2 => guard.put(&lookup, Bytes::new(), deadline),
                _ => {
                    let value = vec![0; usize::try_from(n).unwrap() / 20];
                    guard.put(&lookup, value.into(), deadline);
                }
            }
        }
        assert!(shards.engine.len() > 1000);
        assert_eq!(records(&shards), shards.engine.len());
        for n in 0..5000 {
            let key = n.to_string();
            let lookup = shards.lookup(&key);
            ShardGuard::of_key(&shards, &lookup).remove(&lookup);
        }
        assert_eq!((records(&shards), shards.engine.len()), (0, 0));
    }
}
