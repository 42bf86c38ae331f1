//! One writer in one shard: the steps that the operations are made of.

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

/// How many expired entries a write looks for: more than it makes, so that sweeping catches up, and few enough that it
/// takes no longer than some other writes.
const SWEPT_PER_WRITE: usize = 8;
/// Every so many writes a shard helps another one, so that the expired go even where nobody writes.
const HELP_EVERY: usize = 16;

/// The only writer in a shard.
pub(crate) struct ShardGuard<'a> {
    shards: &'a Shards,
    shard: usize,
    /// Read after the lock was taken: what an earlier writer saw expire has expired for this one.
    now: u64,
    expiries: MutexGuard<'a, ExpiryIndex>,
    /// After the lock, so that it is dropped after it was released.
    deferred_drops: Evicted,
}

impl<'a> ShardGuard<'a> {
    pub(crate) fn new(
        shards: &'a Shards,
        shard: usize,
        expiries: MutexGuard<'a, ExpiryIndex>,
    ) -> Self {
        Self { shards, shard, now: shards.now(), expiries, deferred_drops: Evicted::default() }
    }

    /// What `look` says of the live entry. It sees the entry itself, not a copy: copying counts references, and the first
    /// copy of a value allocates their count.
    pub(crate) fn look<R>(
        &mut self,
        lookup: &Lookup<'_>,
        look: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let mut res = None;
        self.remove_if(lookup, |entry| {
            res = Some(look(entry));
            false
        });
        res
    }

    /// Writes an entry, whatever was there. The value is known to fit.
    pub(crate) fn put(&mut self, lookup: &Lookup<'_>, data: Bytes, deadline: Deadline) {
        let data_at = data.as_ptr();
        let mut old = Deadline::NEVER;
        let (mut key, mut entry) = (lookup.to_key(), Entry::new(data, deadline));
        loop {
            let mut evicted = Evicted::default();
            self.shards.engine.insert_with_lifecycle(key, entry, &mut evicted);
            // The engine may choose the new entry itself to make room for its growth. Then it is not there any more, so the
            // engine makes room before it takes it; hence at most three rounds.
            let may_be_out = evicted.iter().any(|(_, it)| it.data.as_ptr() == data_at);
            let is_out = may_be_out && !self.shards.engine.contains_key(lookup);
            let back = if is_out { evicted.take(lookup.text) } else { None };
            for (key, entry) in evicted.iter() {
                if key.text() == lookup.text {
                    old = entry.deadline();
                } else {
                    self.expiries.remove(self.shards.hashing.hash(key.text()), entry.deadline());
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

    /// Gives the live entry a new deadline; whether there is one.
    pub(crate) fn touch(&mut self, lookup: &Lookup<'_>, deadline: Deadline) -> bool {
        let old = self.look(lookup, |entry| {
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

    /// Removes the entry; the live one that was there.
    pub(crate) fn remove(&mut self, lookup: &Lookup<'_>) -> Option<Entry> {
        self.remove_if(lookup, |_| true)
    }

    /// Removes the live entry if it is wanted, and an expired one anyway; the live one that was removed.
    pub(crate) fn remove_if(
        &mut self,
        lookup: &Lookup<'_>,
        wanted: impl FnOnce(&Entry) -> bool,
    ) -> Option<Entry> {
        let now = self.now;
        let has_expired = |entry: &Entry| entry.deadline().has_passed(|| now);
        let removed =
            self.shards.engine.remove_if(lookup, |entry| has_expired(entry) || wanted(entry));
        let (_, entry) = removed?;
        self.expiries.remove(lookup.hash, entry.deadline());
        (!has_expired(&entry)).then_some(entry)
    }

    /// When an entry that is written now expires.
    pub(crate) fn deadline(&self, expiry: Expiry) -> Deadline {
        match expiry {
            Expiry::Never => Deadline::NEVER,
            Expiry::After(life) => Deadline::after(nanos(self.shards.clock.now()), life),
        }
    }

    /// The small piece of sweeping that rides on every write, here and sometimes elsewhere.
    fn sweep(&mut self) {
        self.sweep_here();
        let writes = self.expiries.count_write();
        if writes.is_multiple_of(HELP_EVERY) {
            let other = self.shard + writes / HELP_EVERY;
            if let Some(mut other) = self.shards.try_write_shard(other) {
                other.sweep_here();
            }
        }
    }

    fn sweep_here(&mut self) {
        let now = self.now;
        for _ in 0..SWEPT_PER_WRITE {
            let Some(hash) = self.expiries.next_due(|| now) else { return };
            let hash_lookup = HashLookup { hash, hashing: &self.shards.hashing };
            // If it was written again it is filed anew, and left alone here.
            self.shards.engine.remove_if(&hash_lookup, |entry| entry.deadline().has_passed(|| now));
        }
    }
}
