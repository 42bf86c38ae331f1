//! Keys are found by their hashes, which the engine uses as its keys.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::quality::RandomState;

/// The key of a call, with its hash, which is computed once per call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) hash: u64,
    pub(crate) text: &'a str,
}

/// Hashes the text of keys with its own random seed.
///
/// The engine selects a shard by the middle bits. With `foldhash::fast` these depend too little on
/// the end of a short key: sequential keys skipped a shard for a thousand writes, and its expired
/// entries stayed in memory meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyHashing(RandomState);

/// Uses each hash as its own hash, in the engine and in the expiry index.
pub(crate) type HashAsIs = BuildHasherDefault<IdentityHasher>;

/// Returns a `u64` as its own hash.
#[derive(Debug, Default)]
pub(crate) struct IdentityHasher(u64);

impl KeyHashing {
    pub(crate) fn lookup<'a>(&self, key: &'a str) -> Lookup<'a> {
        let mut hasher = self.0.build_hasher();
        hasher.write(key.as_bytes());
        Lookup { hash: hasher.finish(), text: key }
    }
}

impl Hasher for IdentityHasher {
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

    /// A good hash skips one of 32 shards for a thousand keys once in 10^13 times.
    #[test]
    fn sequential_keys_reach_every_shard_regularly() {
        for _ in 0..100 {
            let hashing = KeyHashing::default();
            let mut last = [10_000; 32];
            for n in 10_000..40_000 {
                let hash = hashing.lookup(&format!("k{n}")).hash;
                let middle = hash.rotate_right(usize::BITS / 2);
                let last = &mut last[usize::try_from(middle % 32).unwrap()];
                assert!(n - *last < 1000, "a shard was skipped from {last} to {n}");
                *last = n;
            }
        }
    }
}
