//! Keys, and the two ways to find one: by its text, or by its hash alone.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::RandomState;
use quick_cache::Equivalent;

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(Box<str>);

/// The key of a call, with its hash, which is computed once per call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) hash: u64,
    pub(crate) text: &'a str,
}

/// A key of which only the hash is known. The expiry index stores hashes, so that no key is stored
/// twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashLookup<'a> {
    pub(crate) hash: u64,
    pub(crate) hashing: &'a BuildKeyHasher,
}

/// Hashes the text of keys with its own random seed. A hash that was computed before is used as is.
///
/// The engine selects a shard by the middle bits. With `foldhash::fast` these depend too little on
/// the end of a short key: sequential keys skipped a shard for a thousand writes, and its expired
/// entries stayed in memory meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildKeyHasher(RandomState);

#[derive(Debug)]
pub(crate) struct KeyHasher {
    seed: RandomState,
    hash: u64,
}

impl BuildKeyHasher {
    pub(crate) fn hash(&self, text: &str) -> u64 {
        hash(&self.0, text.as_bytes())
    }
}

impl Lookup<'_> {
    pub(crate) fn to_key(self) -> Key {
        Key(self.text.into())
    }
}

impl Key {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for HashLookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.text == *key.0
    }
}

impl Equivalent<Key> for HashLookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.hash == self.hashing.hash(&key.0)
    }
}

impl BuildHasher for BuildKeyHasher {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { seed: self.0.clone(), hash: 0 }
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, text: &[u8]) {
        self.hash = hash(&self.seed, text);
    }

    fn write_u64(&mut self, hash: u64) {
        self.hash = hash;
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

fn hash(seed: &RandomState, text: &[u8]) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lookup_of_a_key_has_the_hash_of_the_key() {
        let hashing = BuildKeyHasher::default();
        let lookup = Lookup { hash: hashing.hash("shop:1:a"), text: "shop:1:a" };
        let hash_lookup = HashLookup { hash: lookup.hash, hashing: &hashing };
        let key = lookup.to_key();
        assert_eq!(hashing.hash_one(&key), lookup.hash);
        assert_eq!(hashing.hash_one(lookup), lookup.hash);
        assert_eq!(hashing.hash_one(hash_lookup), lookup.hash);
        assert!(lookup.equivalent(&key) && hash_lookup.equivalent(&key));
        let other = Lookup { hash: hashing.hash("shop:1:b"), text: "shop:1:b" };
        assert!(!other.equivalent(&key));
    }

    /// A good hash skips one of 32 shards for a thousand keys once in 10^13 times.
    #[test]
    fn sequential_keys_reach_every_shard_regularly() {
        for _ in 0..100 {
            let hashing = BuildKeyHasher::default();
            let mut last = [10_000; 32];
            for n in 10_000..40_000 {
                let middle = hashing.hash(&format!("k{n}")).rotate_right(usize::BITS / 2);
                let last = &mut last[usize::try_from(middle % 32).unwrap()];
                assert!(n - *last < 1000, "a shard was skipped from {last} to {n}");
                *last = n;
            }
        }
    }
}
