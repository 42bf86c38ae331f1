//! The keys that callers are writing.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    time::Duration,
};

/// The keys that callers are writing, by their hashes.
///
/// A key that has the hash of another has its claims, too: then a flight does not store its value,
/// once in 2⁶⁴ times. So a claim copies no key, and is hashed once.
#[derive(Default)]
pub(super) struct Claims(HashMap<u64, Untils, BuildHasherDefault<AsIs>>);

/// The claim of one write.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    hash: u64,
    /// When it expires.
    pub(super) until: Duration,
}

/// Hashes keys with a seed of its own.
#[derive(Default)]
pub(super) struct ClaimHasher(RandomState);

/// The ends of the claims of one key, which usually has one.
struct Untils {
    first: Duration,
    others: Vec<Duration>,
}

impl ClaimHasher {
    pub(super) fn claim(&self, key: &str, until: Duration) -> Claim {
        Claim { hash: self.0.hash_one(key), until }
    }
}

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) {
        match self.0.entry(claim.hash) {
            Entry::Occupied(mut it) => it.get_mut().others.push(claim.until),
            Entry::Vacant(it) => {
                it.insert(Untils { first: claim.until, others: Vec::new() });
            }
        }
    }

    pub(super) fn remove(&mut self, claim: Claim) {
        let Entry::Occupied(mut entry) = self.0.entry(claim.hash) else { return };
        let Untils { first, others } = entry.get_mut();
        // Claims that expire at the same moment are interchangeable.
        if *first != claim.until {
            if let Some(place) = others.iter().position(|it| *it == claim.until) {
                others.swap_remove(place);
            }
        } else if let Some(other) = others.pop() {
            *first = other;
        } else {
            entry.remove();
        }
    }

    /// Returns whether a claim of the same key lasts longer than this one.
    pub(super) fn outlasts(&self, claim: Claim) -> bool {
        let Some(it) = self.0.get(&claim.hash) else { return false };
        claim.until < it.first || it.others.iter().any(|until| claim.until < *until)
    }
}

/// Returns a `u64` as its own hash.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {
        // Never called: all values are `u64`.
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
    use super::*;

    #[test]
    fn key_is_claimed_until_its_last_claim_is_removed_or_expires() {
        let (hasher, mut claims) = (ClaimHasher::default(), Claims::default());
        let at = |key: &str, seconds| hasher.claim(key, Duration::from_secs(seconds));
        for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            for until in [1, 3, 2] {
                claims.add(at("k", until));
            }
            let mut left = vec![1, 2, 3];
            for until in order {
                let last = *left.iter().max().unwrap();
                assert!(claims.outlasts(at("k", last - 1)) && !claims.outlasts(at("k", last)));
                assert!(!claims.outlasts(at("other", 0)));
                claims.remove(at("k", until));
                left.retain(|it| *it != until);
            }
            assert!(claims.0.is_empty());
        }
        claims.add(at("k", 1));
        claims.remove(at("k", 2));
        assert!(claims.outlasts(at("k", 0)), "a claim that is not there removes no other");
    }
}
