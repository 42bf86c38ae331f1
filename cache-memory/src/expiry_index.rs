//! The expiry index of a shard: finds expired entries without checking the others.

use std::collections::{BTreeMap, HashSet, hash_set};

use crate::{deadline::Deadline, key::HashAsIs};

/// The hashes of a shard's entries that expire, in buckets by the time when they are due.
///
/// The index is exact: it has one record for each entry with a deadline, and the record is removed
/// when the entry is overwritten, removed or evicted. So it is never larger than the shard, for any
/// turnover and any lifetimes. A record is the hash alone, about 14 bytes with the free space in a
/// hash set. A bucket that has lost most of its records shrinks.
///
/// A bucket spans up to a thirty-second of its entries' lifetimes, so entries of one lifetime need
/// about forty buckets, not one per second.
#[derive(Debug, Default)]
pub(crate) struct ExpiryIndex {
    buckets: BTreeMap<u64, Bucket>,
    /// The rest of the last bucket that became due; it is processed in small steps.
    overdue: Overdue,
    writes: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    hashes: Hashes,
    /// The maximum number of hashes since the bucket last shrank.
    peak: usize,
}

type Hashes = HashSet<u64, HashAsIs>;

/// A bucket that never had more records than this does not shrink.
const MIN_SHRINK: usize = 32;

#[derive(Debug)]
struct Overdue(hash_set::IntoIter<u64>);

impl ExpiryIndex {
    /// Adds a record.
    pub(crate) fn insert(&mut self, hash: u64, deadline: Deadline) {
        if let Some(due) = deadline.due() {
            self.buckets.entry(due).or_default().insert(hash);
        }
    }

    /// Removes a record. A record that is due already is not found here; the sweeper drops it.
    pub(crate) fn remove(&mut self, hash: u64, deadline: Deadline) {
        if let Some(bucket) = deadline.due().and_then(|due| self.buckets.get_mut(&due)) {
            bucket.remove(hash);
        }
    }

    /// Moves a record from one deadline to another. Often both are in one bucket.
    pub(crate) fn update(&mut self, hash: u64, old: Deadline, new: Deadline) {
        if old.due() != new.due() {
            self.remove(hash, old);
            self.insert(hash, new);
        }
    }

    /// Takes out the next hash that is due. Its entry may have been written again since, so the
    /// caller checks the entry's deadline before it removes the entry.
    pub(crate) fn next_due(&mut self, mut now: impl FnMut() -> u64) -> Option<u64> {
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

    /// Counts a write to the shard and returns the count.
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
        self.peak = self.peak.max(self.hashes.len());
    }

    /// Entries that are rewritten often pass through all the buckets of their lifetime. If each
    /// bucket kept space for all of them, the records would be larger than the entries.
    fn remove(&mut self, hash: u64) {
        self.hashes.remove(&hash);
        if self.peak > MIN_SHRINK && self.hashes.len() < self.peak / 4 {
            self.peak = 2 * self.hashes.len();
            self.hashes.shrink_to(self.peak);
        }
    }
}

impl Default for Overdue {
    fn default() -> Self {
        Self(Hashes::default().into_iter())
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
    fn only_due_records_are_returned() {
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
    fn entries_of_one_lifetime_need_few_buckets() {
        let mut expiries = ExpiryIndex::default();
        for hash in 0..100_000 {
            let now = hash * 3_000_000;
            expiries.insert(hash, Deadline::after(now, Duration::from_secs(300)));
        }
        assert!(expiries.buckets.len() < 64, "{}", expiries.buckets.len());
    }

    #[test]
    fn rewritten_entries_keep_space_for_one_record_each() {
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
        assert!(room < 20_000, "{} buckets have space for {room}", expiries.buckets.len());
    }
}
