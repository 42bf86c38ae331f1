//! The keys that callers are writing.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The keys that callers are writing.
///
/// A claim keeps only the hash of its key, so it copies no key. Of two keys with one hash, a flight
/// of one does not store its value while the other is written; that happens once in 2⁶⁴ times.
#[derive(Default)]
pub(super) struct Claims(HashMap<u64, Untils>);

/// The claim of one write.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) key: KeyHash,
    /// When it expires.
    pub(super) until: Duration,
}

#[derive(Clone, Copy)]
pub(super) struct KeyHash(u64);

/// Hashes keys with a seed of its own, without the lock of the claims.
#[derive(Default)]
pub(super) struct KeyHasher(RandomState);

/// The ends of the claims of one key, which usually has one.
struct Untils {
    first: Duration,
    others: Vec<Duration>,
}

impl KeyHasher {
    pub(super) fn hash(&self, key: &str) -> KeyHash {
        KeyHash(self.0.hash_one(key))
    }
}

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) {
        match self.0.entry(claim.key.0) {
            Entry::Occupied(mut it) => it.get_mut().others.push(claim.until),
            Entry::Vacant(it) => {
                it.insert(Untils { first: claim.until, others: Vec::new() });
            }
        }
    }

    pub(super) fn remove(&mut self, claim: Claim) {
        let Entry::Occupied(mut entry) = self.0.entry(claim.key.0) else { return };
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

    /// Returns whether the key has a claim that expires after `now`.
    pub(super) fn has(&self, key: KeyHash, now: Duration) -> bool {
        let Some(it) = self.0.get(&key.0) else { return false };
        now < it.first || it.others.iter().any(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_claimed_until_its_last_claim_is_removed_or_expires() {
        let (hasher, mut claims) = (KeyHasher::default(), Claims::default());
        let (key, other) = (hasher.hash("k"), hasher.hash("other"));
        let at = Duration::from_secs;
        for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            for until in [1, 3, 2] {
                claims.add(Claim { key, until: at(until) });
            }
            let mut left = vec![1, 2, 3];
            for until in order {
                let last = *left.iter().max().unwrap();
                assert!(claims.has(key, at(last - 1)) && !claims.has(key, at(last)));
                assert!(!claims.has(other, at(0)));
                claims.remove(Claim { key, until: at(until) });
                left.retain(|it| *it != until);
            }
            assert!(claims.0.is_empty());
        }
        claims.add(Claim { key, until: at(1) });
        claims.remove(Claim { key, until: at(2) });
        assert!(claims.has(key, at(0)), "a claim that is not there removes no other");
    }
}
