//! What a file begins with. The layout, byte by byte, is in the documentation of the crate.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What a file says of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether the value behind it is complete.
    pub(crate) whole: bool,
    pub(crate) key_len: u16,
    pub(crate) value_len: u64,
    /// Milliseconds since 1970; 0 is never.
    pub(crate) expires: u64,
    /// Of one write, and of no other.
    pub(crate) stamp: u64,
    pub(crate) value_sum: u64,
}

/// Why a file holds no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Nothing, or the mark of a write that is under way or was killed.
    Unfinished,
    /// What no writer of ours leaves behind.
    Damaged,
    /// A newer release wrote it.
    Newer,
}

/// The bytes before the key.
pub(crate) const LEN: usize = 48;
/// No key is longer; the facade's have 230 bytes at most.
pub(crate) const MAX_KEY: usize = 1024;

const MAGIC: [u8; 4] = *b"\xffcch";
const VERSION: u8 = 1;
const WHOLE: u8 = 1;

impl Header {
    /// Header and key, as they stand in the file.
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut res = Vec::with_capacity(LEN + key.len());
        res.extend_from_slice(&MAGIC);
        res.push(VERSION);
        res.push(if self.whole { WHOLE } else { 0 });
        res.extend_from_slice(&self.key_len.to_le_bytes());
        res.extend_from_slice(&[0; 8]);
        for number in [self.value_len, self.expires, self.stamp, self.value_sum] {
            res.extend_from_slice(&number.to_le_bytes());
        }
        res.extend_from_slice(key);
        let sum = sum_of(&res);
        res[8..16].copy_from_slice(&sum.to_le_bytes());
        res
    }

    /// Header and key of a file that begins with `start`.
    pub(crate) fn decode(start: &[u8]) -> Result<(Self, &[u8]), Bad> {
        if start.is_empty() {
            return Err(Bad::Unfinished);
        }
        let fixed = start.get(..LEN).filter(|it| it[..4] == MAGIC).ok_or(Bad::Damaged)?;
        if fixed[4] != VERSION {
            return Err(if fixed[4] > VERSION { Bad::Newer } else { Bad::Damaged });
        }
        let key_len = u16::from_le_bytes([fixed[6], fixed[7]]);
        let end = LEN + usize::from(key_len);
        let all = start.get(..end).filter(|_| usize::from(key_len) <= MAX_KEY);
        let all = all.ok_or(Bad::Damaged)?;
        if number(all, 8) != sum_of(all) || all[5] > WHOLE {
            return Err(Bad::Damaged);
        }
        let header = Self {
            whole: all[5] == WHOLE,
            key_len,
            value_len: number(all, 16),
            expires: number(all, 24),
            stamp: number(all, 32),
            value_sum: number(all, 40),
        };
        Ok((header, &all[LEN..]))
    }

    /// Where the value begins.
    pub(crate) fn value_at(&self) -> usize {
        LEN + usize::from(self.key_len)
    }

    /// The bytes of the file that the entry takes; `None` if no file is so long.
    pub(crate) fn total(&self) -> Option<u64> {
        (self.value_at() as u64).checked_add(self.value_len)
    }

    /// Whether these are the bytes of the value.
    pub(crate) fn is_of(&self, value: &[u8]) -> bool {
        self.value_sum == value_sum(value)
    }

    pub(crate) fn is_live(&self, now: u64) -> bool {
        self.expires == 0 || self.expires > now
    }
}

pub(crate) fn value_sum(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Over all but its own place: the first eight bytes are the seed.
fn sum_of(all: &[u8]) -> u64 {
    xxh3_64_with_seed(&all[16..], number(all, 0))
}

/// Out of reach it is 0, which no caller asks for.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|it| it.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(key: &[u8], value: &[u8]) -> Header {
        Header {
            whole: true,
            key_len: u16::try_from(key.len()).unwrap(),
            value_len: value.len() as u64,
            expires: 5,
            stamp: 7,
            value_sum: value_sum(value),
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let header = header(b"a:1:k", b"value");
        let bytes = header.encode(b"a:1:k");
        assert_eq!(Header::decode(&bytes), Ok((header, &b"a:1:k"[..])));
        let unfinished = Header { whole: false, ..header };
        assert_eq!(Header::decode(&unfinished.encode(b"a:1:k")).unwrap().0, unfinished);
    }

    #[test]
    fn every_single_bit_counts() {
        let good = header(b"a:1:k", b"value").encode(b"a:1:k");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
        for len in 1..good.len() {
            assert_eq!(Header::decode(&good[..len]), Err(Bad::Damaged), "{len} bytes");
        }
        assert_eq!(Header::decode(b""), Err(Bad::Unfinished));
    }

    #[test]
    fn a_newer_release_is_told_from_damage() {
        let mut bytes = header(b"k", b"").encode(b"k");
        bytes[4] = VERSION + 1;
        assert_eq!(Header::decode(&bytes), Err(Bad::Newer));
        bytes[4] = 0;
        assert_eq!(Header::decode(&bytes), Err(Bad::Damaged));
    }

    /// What the fuzzer would be given first: every sort of file that the tests of damage make.
    #[test]
    fn no_seed_of_the_corpus_and_nothing_like_it_is_taken_for_an_entry() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
        let seeds: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|it| it.unwrap()).collect();
        assert!(seeds.len() >= 8);
        for seed in seeds {
            let bytes = std::fs::read(seed.path()).unwrap();
            let good = seed.file_name().to_string_lossy().starts_with("good");
            let whole = Header::decode(&bytes).is_ok_and(|(it, _)| {
                let end = it.total().and_then(|it| usize::try_from(it).ok());
                let value = end.and_then(|end| bytes.get(it.value_at()..end));
                it.whole && value.is_some_and(|value| it.is_of(value))
            });
            assert_eq!(whole, good, "{}", seed.path().display());
            for at in 0..bytes.len().min(200) {
                for other in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = other;
                    let _ = Header::decode(&changed).map(|(it, _)| it.total());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn any_bytes_are_decoded_without_harm(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            begins_well in any::<bool>(),
        ) {
            if begins_well && bytes.len() > 5 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4] = VERSION;
                bytes[5] &= 1;
            }
            if let Ok((header, key)) = Header::decode(&bytes) {
                prop_assert_eq!(key.len(), usize::from(header.key_len));
                prop_assert_eq!(&header.encode(key)[..], &bytes[..header.value_at()]);
            }
        }

        #[test]
        fn any_entry_goes_through_and_back(
            key in proptest::collection::vec(any::<u8>(), 0..MAX_KEY),
            numbers in any::<(u64, u64, u64, u64)>(),
            whole in any::<bool>(),
        ) {
            let (value_len, expires, stamp, value_sum) = numbers;
            let key_len = u16::try_from(key.len()).unwrap();
            let header = Header { whole, key_len, value_len, expires, stamp, value_sum };
            let bytes = header.encode(&key);
            prop_assert_eq!(Header::decode(&bytes), Ok((header, &key[..])));
        }
    }
}
