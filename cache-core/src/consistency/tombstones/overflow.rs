use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A record of fixed size of the keys that found no room in the table of tombstones: a Bloom
/// filter, which cannot remove keys, and the fingerprints of the keys that were resolved since
/// (their old entry was deleted, or they were written).
///
/// The filter contains each key that was added. With a million keys, it also contains one in forty
/// other keys; each of these costs one miss until it is resolved.
pub(super) struct Overflow {
    /// The number of the last tombstone that had no room.
    pub(super) number: u64,
    pub(super) until: Option<Duration>,
    filter: Box<[u64]>,
    /// Only keys that the filter contains. It is never emptied: the next delete of a key that was
    /// removed here would delete a newer entry. A collision of two random 64-bit fingerprints is
    /// accepted.
    resolved: HashSet<u64>,
    hasher: RandomState,
}

/// 1 MiB.
const BITS: u64 = 1 << 23;
const HASHES: u64 = 4;
/// The maximum number of fingerprints, which take about 20 MB.
const MAX_RESOLVED: usize = 1 << 20;

impl Overflow {
    pub(super) fn new() -> Self {
        let words = usize::try_from(BITS / 64).unwrap_or_default();
        Self {
            number: 0,
            until: None,
            filter: vec![0; words].into(),
            resolved: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Adds a key that has no room in the table.
    pub(super) fn add(&mut self, key: &str) {
        let fingerprint = self.hasher.hash_one(key);
        self.resolved.remove(&fingerprint);
        for (word, bit) in places(fingerprint) {
            self.filter[word] |= bit;
        }
    }

    /// Notes that the old entry of a key was deleted, or the key was written.
    pub(super) fn resolve(&mut self, key: &str) {
        let fingerprint = self.hasher.hash_one(key);
        if !self.is_full() && self.is_in_filter(fingerprint) {
            self.resolved.insert(fingerprint);
        }
    }

    /// Returns whether a key counts as having a tombstone.
    pub(super) fn contains(&self, key: &str, now: Duration) -> bool {
        if self.is_expired(now) {
            return false;
        }
        let fingerprint = self.hasher.hash_one(key);
        self.is_in_filter(fingerprint) && !self.resolved.contains(&fingerprint)
    }

    pub(super) fn is_expired(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Returns whether no further key can be resolved: its pending delete would run forever.
    pub(super) fn is_full(&self) -> bool {
        self.resolved.len() >= MAX_RESOLVED
    }

    fn is_in_filter(&self, fingerprint: u64) -> bool {
        places(fingerprint).all(|(word, bit)| self.filter[word] & bit != 0)
    }
}

/// Returns the bits of a key in the filter, by double hashing with the halves of the fingerprint.
fn places(fingerprint: u64) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (fingerprint & 0xffff_ffff, (fingerprint >> 32) | 1);
    (0..HASHES).map(move |n| {
        let bit = (first + n * step) % BITS;
        (usize::try_from(bit / 64).unwrap_or_default(), 1 << (bit % 64))
    })
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflow").field("until", &self.until).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_contains_added_keys_and_few_others() {
        let mut overflow = Overflow::new();
        let contains = |it: &Overflow, key: u32| it.contains(&key.to_string(), Duration::ZERO);
        (0..50_000_u32).for_each(|it| overflow.add(&it.to_string()));
        assert!((0..50_000).all(|it| contains(&overflow, it)));
        let others = (50_000..60_000).filter(|it| contains(&overflow, *it)).count();
        assert!(others < 100, "{others} of 10,000 other keys");
    }

    #[test]
    fn resolved_key_is_absent_until_it_is_added_again() {
        let mut overflow = Overflow::new();
        overflow.add("k");
        overflow.resolve("k");
        overflow.resolve("other");
        assert!(!overflow.contains("k", Duration::ZERO) && overflow.resolved.len() == 1);
        overflow.add("k");
        assert!(overflow.contains("k", Duration::ZERO));
    }

    #[test]
    fn resolved_keys_stay_resolved() {
        let mut overflow = Overflow::new();
        let keys: Vec<_> = (0..20_000).map(|it: u32| it.to_string()).collect();
        for key in &keys {
            overflow.add(key);
        }
        for key in &keys {
            overflow.resolve(key);
        }
        assert!(!keys.iter().any(|key| overflow.contains(key, Duration::ZERO)));
    }
}
