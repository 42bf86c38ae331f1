//! The exclusive writer of one shard: the steps that the operations consist of.

use std::sync::MutexGuard;

use cache_core::store::{Expiry, Object};

use crate::{
    deadline::{Deadline, nanos},
    entry::Entry,
    evicted::Evicted,
    expiry_index::ExpiryIndex,
    key::Lookup,
    shards::Shards,
};

/// The exclusive writer of a shard, until it is dropped.
pub(crate) struct ShardGuard<'a> {
    shards: &'a Shards,
    shard: usize,
    /// The time, once it was needed. Read after the lock was taken: an entry that an earlier writer
    /// saw as expired is expired for this one, too.
    now: Option<u64>,
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
        Self { shards, shard, now: None, expiries, deferred_drops: Evicted::default() }
    }

    /// Calls `read` with the live entry. It gets a reference, not a copy, which would count
    /// references.
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

    /// Writes the entry of this key, whether or not one exists. The caller has checked its size.
    pub(crate) fn put(&mut self, lookup: &Lookup<'_>, mut entry: Entry) {
        let (address, deadline) = (entry.address(), entry.deadline());
        let mut old = Deadline::NEVER;
        loop {
            let mut evicted = Evicted::default();
            self.shards.engine.insert_with_lifecycle(lookup.hash, entry, &mut evicted);
            // If an entry grows, the engine may evict that same entry to make room. Then the key is
            // new to the engine in the next round, and it makes room before it inserts; so at most
            // three rounds are needed.
            let back = evicted.take(address);
            for (hash, entry) in evicted.iter() {
                if *hash == lookup.hash {
                    old = entry.deadline();
                } else {
                    self.expiries.remove(*hash, entry.deadline());
                }
            }
            self.deferred_drops = evicted;
            match back {
                Some(it) => entry = it,
                None => break,
            }
        }
        self.expiries.update(lookup.hash, old, deadline);
        self.sweep();
    }

    /// Keeps an object beside the value of the live entry, if it is still the entry that was seen
    /// and has no object.
    pub(crate) fn keep(&mut self, lookup: &Lookup<'_>, seen: Entry, object: Object) {
        let is_seen = |it: &Entry| it.address() == seen.address() && it.object().is_none();
        // A `touch` may have changed the deadline since.
        let found = self.peek(lookup, |it| is_seen(it).then(|| it.deadline())).flatten();
        let Some(deadline) = found else { return };
        let entry = seen.with_object(object).expiring(deadline);
        // The replaced entry has the same bytes, so nothing of it is freed. As the entry is there,
        // the engine does not refuse.
        let _ = self.shards.engine.replace(lookup.hash, entry, true);
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
        let (shards, now) = (self.shards, &mut self.now);
        let mut has_expired = |entry: &Entry| {
            entry.deadline().has_passed(|| *now.get_or_insert_with(|| shards.now()))
        };
        let (_, entry) = shards.engine.remove_if(&lookup.hash, |entry| {
            entry.is_of(lookup.text) && (has_expired(entry) || predicate(entry))
        })?;
        self.expiries.remove(lookup.hash, entry.deadline());
        (!has_expired(&entry)).then_some(entry)
    }

    /// The deadline of an entry that is written now.
    pub(crate) fn deadline(&mut self, expiry: Expiry) -> Deadline {
        let Expiry::After(lifetime) = expiry else { return Deadline::NEVER };
        let now = nanos(self.shards.clock.now());
        // The coarse time need not be read, too. Being exact expires no entry early.
        self.now.get_or_insert(now);
        Deadline::after(now, lifetime)
    }

    /// Removes a few expired entries, as part of every write; sometimes in another shard, too.
    fn sweep(&mut self) {
        self.sweep_this_shard();
        let writes = self.expiries.count_write();
        if writes.is_multiple_of(HELP_EVERY) {
            let other = (self.shard + writes / HELP_EVERY) % self.shards.len();
            if let Some(mut other) = Self::try_lock(self.shards, other) {
                other.now = self.now;
                other.sweep_this_shard();
            }
        }
    }

    fn sweep_this_shard(&mut self) {
        let (shards, now) = (self.shards, &mut self.now);
        let mut now = || *now.get_or_insert_with(|| shards.now());
        for _ in 0..SWEPT_PER_WRITE {
            let Some(hash) = self.expiries.next_due(&mut now) else { return };
            // An entry that was written again has a new record, and its deadline has not passed.
            shards.engine.remove_if(&hash, |entry| entry.deadline().has_passed(&mut now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::Clock;

    use super::*;
    use crate::{
        limits::{Limits, RequestedLimits},
        reader,
    };

    fn records(shards: &Shards) -> usize {
        (0..shards.len()).map(|shard| shards.lock(shard).len()).sum()
    }

    /// A trap: the hash of a key is taken for the key.
    #[test]
    fn hash_collision_is_a_miss_and_the_other_entry_stays() {
        let shards = Shards::new(Limits::DEFAULT, Clock::system());
        let [ours, other] = ["ours", "them"].map(|text| Lookup { hash: 7, text });
        let value = |it| reader::get(&shards, it).map(Entry::into_value);
        let mut guard = ShardGuard::of_key(&shards, &ours);
        guard.put(&other, Entry::new("them", b"other"));
        assert!(guard.peek(&ours, |_| ()).is_none());
        assert!(!guard.touch(&ours, Deadline::NEVER));
        assert!(guard.remove_if(&ours, |_| true).is_none() && guard.remove(&ours).is_none());
        assert_eq!((value(&ours), value(&other)), (None, Some("other".into())));
        // A write replaces it: of two keys with one hash, the store has the last one.
        guard.put(&ours, Entry::new("ours", b"1"));
        assert_eq!((value(&ours), value(&other)), (Some("1".into()), None));
        drop(guard);
        assert_eq!((records(&shards), shards.engine.len()), (0, 1));
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
                2 => guard.put(&lookup, Entry::new(&key, b"").expiring(deadline)),
                // The values grow.
                _ => {
                    let value = vec![0; usize::try_from(n).unwrap() / 20];
                    guard.put(&lookup, Entry::new(&key, &value).expiring(deadline));
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
