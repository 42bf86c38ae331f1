//! The keys that should have been marked when there was no room.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A fixed-size record of the keys whose marks found no room: a Bloom filter, from which nothing can be
/// taken, and the fingerprints of the keys that were settled or written since.
///
/// The filter never misses a lost key. Of a million lost keys, it takes one other key in forty for lost; the
/// settling of that key costs one miss.
pub(super) struct Overflow {
    /// The last mark that had no room.
    pub(super) number: u64,
    pub(super) until: Option<Duration>,
    lost: Box<[u64]>,
    /// Only keys that the filter knows. Never emptied: a key that was forgotten here would be settled once
    /// more, and that removes what was written since. A collision of two random 64-bit fingerprints is
    /// accepted.
    clean: HashSet<u64>,
    hasher: RandomState,
}

/// 1 MiB.
const BITS: u64 = 1 << 23;
const HASHES: u64 = 4;
/// The most fingerprints that are kept: about 20 MB.
const MAX_CLEAN: usize = 1 << 20;

impl Overflow {
    pub(super) fn new() -> Self {
        let words = usize::try_from(BITS / 64).unwrap_or_default();
        Self {
            number: 0,
            until: None,
            lost: vec![0; words].into(),
            clean: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Adds a key whose mark found no room.
    pub(super) fn lose(&mut self, key: &str) {
        let fingerprint = self.hasher.hash_one(key);
        self.clean.remove(&fingerprint);
        for (word, bit) in places(fingerprint) {
            self.lost[word] |= bit;
        }
    }

    /// Notes that a key was settled or written.
    pub(super) fn clean(&mut self, key: &str) {
        let fingerprint = self.hasher.hash_one(key);
        if !self.is_full() && self.is_lost(fingerprint) {
            self.clean.insert(fingerprint);
        }
    }

    /// Whether a key counts as marked.
    pub(super) fn holds(&self, key: &str, now: Duration) -> bool {
        if self.is_over(now) {
            return false;
        }
        let fingerprint = self.hasher.hash_one(key);
        self.is_lost(fingerprint) && !self.clean.contains(&fingerprint)
    }

    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether no further key can be noted as settled. Settling one would have no end.
    pub(super) fn is_full(&self) -> bool {
        self.clean.len() >= MAX_CLEAN
    }

    fn is_lost(&self, fingerprint: u64) -> bool {
        places(fingerprint).all(|(word, bit)| self.lost[word] & bit != 0)
    }
}

/// The bits of a key in the filter: double hashing with the two halves of the fingerprint.
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
    fn lost_keys_are_held_and_few_others() {
        let mut overflow = Overflow::new();
        let held = |it: &Overflow, key: u32| it.holds(&key.to_string(), Duration::ZERO);
        (0..50_000_u32).for_each(|it| overflow.lose(&it.to_string()));
        assert!((0..50_000).all(|it| held(&overflow, it)));
        let others = (50_000..60_000).filter(|it| held(&overflow, *it)).count();
        assert!(others < 100, "{others} of 10,000 other keys");
    }

    #[test]
    fn settled_key_is_not_held_until_it_is_lost_again() {
        let mut overflow = Overflow::new();
        overflow.lose("k");
        overflow.clean("k");
        overflow.clean("other");
        assert!(!overflow.holds("k", Duration::ZERO) && overflow.clean.len() == 1);
        overflow.lose("k");
        assert!(overflow.holds("k", Duration::ZERO));
    }

    #[test]
    fn settled_keys_are_remembered_while_the_overflow_lasts() {
        let mut overflow = Overflow::new();
        let lost: Vec<_> = (0..20_000).map(|it: u32| it.to_string()).collect();
        for key in &lost {
            overflow.lose(key);
        }
        for key in &lost {
            overflow.clean(key);
        }
        assert!(!lost.iter().any(|key| overflow.holds(key, Duration::ZERO)));
    }
}
