//! Which entries of a shard expire when, so that the expired are found without looking at the others.

use std::{
    collections::{BTreeMap, HashSet, hash_set},
    hash::{BuildHasherDefault, Hasher},
};

use crate::deadline::Deadline;

/// The hashes of a shard's entries that expire, in buckets by the time when they are due.
///
/// Exact: an entry that is written with a deadline is filed, and one that is overwritten, removed or evicted is taken
/// out. So it is never larger than the shard, whatever turnover and lifetimes are. A record is the hash alone, about
/// 14 bytes with the room that a hash set leaves free; a bucket that has lost most of its records gives their room back.
///
/// A bucket spans up to a thirty-second of its entries' lifetimes, so there are some forty of them, not one per second.
#[derive(Debug, Default)]
pub(crate) struct ExpiryIndex {
    buckets: BTreeMap<u64, Bucket>,
    /// The bucket that has come due last, while it is worked off in small pieces.
    overdue: Overdue,
    writes: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    hashes: Hashes,
    /// The most that there were since it last gave room back.
    most: usize,
}

type Hashes = HashSet<u64, BuildHasherDefault<IdentityHasher>>;

/// Less room than for so many is not worth giving back.
const FEW: usize = 32;

#[derive(Debug)]
struct Overdue(hash_set::IntoIter<u64>);

impl ExpiryIndex {
    /// Notes that the key of this hash expires then.
    pub(crate) fn insert(&mut self, hash: u64, deadline: Deadline) {
        if let Some(due) = deadline.due() {
            self.buckets.entry(due).or_default().insert(hash);
        }
    }

    /// Forgets what was filed under the same two. One that has come due already is forgotten by itself.
    pub(crate) fn remove(&mut self, hash: u64, deadline: Deadline) {
        if let Some(bucket) = deadline.due().and_then(|due| self.buckets.get_mut(&due)) {
            bucket.remove(hash);
        }
    }

    /// Moves a record from one deadline to another, which often share a bucket.
    pub(crate) fn update(&mut self, hash: u64, old: Deadline, new: Deadline) {
        if old.due() != new.due() {
            self.remove(hash, old);
            self.insert(hash, new);
        }
    }

    /// The next hash that is due. Its entry may have been written again meanwhile, so look before removing it.
    pub(crate) fn next_due(&mut self, now: impl Fn() -> u64) -> Option<u64> {
        loop {
            if let Some(hash) = self.overdue.0.next() {
                return Some(hash);
            }
            let first = self.buckets.first_entry()?;
            if *first.key() > now() {
                return None;
            }
            self.overdue = Overdue(first.remove().hashes.into_iter());
        }
    }

    /// Counts writes to the shard.
    pub(crate) fn count_write(&mut self) -> usize {
        self.writes = self.writes.wrapping_add(1);
        self.writes
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.overdue.0.len() + self.buckets.values().map(|it| it.hashes.len()).sum::<usize>()
    }
}

impl Bucket {
    fn insert(&mut self, hash: u64) {
        self.hashes.insert(hash);
        self.most = self.most.max(self.hashes.len());
    }

    /// Entries that are written again and again pass through all the buckets of their lifetime: if each kept room for
    /// all of them, the records would outweigh the entries.
    fn remove(&mut self, hash: u64) {
        self.hashes.remove(&hash);
        if self.most > FEW && self.hashes.len() < self.most / 4 {
            self.most = 2 * self.hashes.len();
            self.hashes.shrink_to(self.most);
        }
    }
}

impl Default for Overdue {
    fn default() -> Self {
        Self(Hashes::default().into_iter())
    }
}

/// Takes a hash for what it is.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, _: &[u8]) {
        // Only `u64`s are hashed here.
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(secs: u64) -> Deadline {
        Deadline::after(0, Duration::from_secs(secs))
    }

    fn drain(expiries: &mut ExpiryIndex, secs: u64) -> Vec<u64> {
        let now = Duration::from_secs(secs).as_nanos().try_into().unwrap();
        let mut res: Vec<u64> = std::iter::from_fn(|| expiries.next_due(|| now)).collect();
        res.sort_unstable();
        res
    }

    #[test]
    fn what_is_due_comes_and_nothing_else() {
        let mut expiries = ExpiryIndex::default();
        for hash in 0..100 {
            expiries.insert(hash, after(hash + 1));
        }
        expiries.insert(1000, Deadline::NEVER);
        expiries.remove(7, after(8));
        expiries.update(8, after(9), after(500));
        assert!(drain(&mut expiries, 0).is_empty());
        let due = drain(&mut expiries, 52);
        let expected: Vec<u64> = (0..50).filter(|it| ![7, 8].contains(it)).collect();
        assert_eq!(due.iter().copied().filter(|it| *it < 50).collect::<Vec<_>>(), expected);
        assert!(due.iter().all(|it| *it < 52), "{due:?}");
        assert_eq!(drain(&mut expiries, 600).len() + due.len(), 99);
        assert_eq!(expiries.len(), 0);
    }

    #[test]
    fn one_lifetime_needs_few_buckets() {
        let mut expiries = ExpiryIndex::default();
        for hash in 0..100_000 {
            let now = hash * 3_000_000;
            expiries.insert(hash, Deadline::after(now, Duration::from_secs(300)));
        }
        assert!(expiries.buckets.len() < 64, "{}", expiries.buckets.len());
    }

    #[test]
    fn entries_that_are_written_again_and_again_have_room_for_one_record_each() {
        let mut expiries = ExpiryIndex::default();
        let hour = Duration::from_secs(3600);
        let mut old = Deadline::NEVER;
        for minute in 0..60 {
            let new = Deadline::after(minute * 60_000_000_000, hour);
            (0..10_000).for_each(|hash| expiries.update(hash, old, new));
            old = new;
        }
        assert_eq!(expiries.len(), 10_000);
        let room: usize = expiries.buckets.values().map(|it| it.hashes.capacity()).sum();
        assert!(room < 20_000, "{} buckets have room for {room}", expiries.buckets.len());
    }
}
