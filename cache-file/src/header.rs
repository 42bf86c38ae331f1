//! The header of an entry's file. The documentation of the crate describes its layout by byte.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The header of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether the value behind it was written to its end.
    pub(crate) is_complete: bool,
    pub(crate) key_len: u16,
    pub(crate) value_len: u64,
    /// Milliseconds since 1970; 0 is never.
    pub(crate) expires: u64,
    /// A number that no other write has.
    pub(crate) stamp: u64,
    pub(crate) value_checksum: u64,
}

/// The reason why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// There are no bytes: the file was created and never written.
    Empty,
    /// No release writes such bytes.
    Damaged,
    /// A newer release has written them.
    Newer,
}

/// The length in bytes, without the key.
pub(crate) const LEN: usize = 48;
/// The maximum length of a key in bytes. Keys of the facade have at most 230.
pub(crate) const MAX_KEY: usize = 1024;

const MAGIC: [u8; 4] = *b"\xffcch";
const VERSION: u8 = 1;
const COMPLETE: u8 = 1;

impl Header {
    /// Encodes header and key.
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut res = Vec::with_capacity(LEN + key.len());
        res.extend_from_slice(&MAGIC);
        res.push(VERSION);
        res.push(if self.is_complete { COMPLETE } else { 0 });
        res.extend_from_slice(&self.key_len.to_le_bytes());
        res.extend_from_slice(&[0; 8]);
        for number in [self.value_len, self.expires, self.stamp, self.value_checksum] {
            res.extend_from_slice(&number.to_le_bytes());
        }
        res.extend_from_slice(key);
        let checksum = head_checksum(&res);
        res[8..16].copy_from_slice(&checksum.to_le_bytes());
        res
    }

    /// Decodes the header and the key at the start of a file.
    pub(crate) fn decode(start: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        if start.is_empty() {
            return Err(DecodeError::Empty);
        }
        let fixed = start.get(..LEN).filter(|it| it[..4] == MAGIC).ok_or(DecodeError::Damaged)?;
        if fixed[4] != VERSION {
            let is_newer = fixed[4] > VERSION;
            return Err(if is_newer { DecodeError::Newer } else { DecodeError::Damaged });
        }
        let key_len = u16::from_le_bytes([fixed[6], fixed[7]]);
        let end = LEN + usize::from(key_len);
        let head = start.get(..end).filter(|_| usize::from(key_len) <= MAX_KEY);
        let head = head.ok_or(DecodeError::Damaged)?;
        if number(head, 8) != head_checksum(head) || head[5] > COMPLETE {
            return Err(DecodeError::Damaged);
        }
        let header = Self {
            is_complete: head[5] == COMPLETE,
            key_len,
            value_len: number(head, 16),
            expires: number(head, 24),
            stamp: number(head, 32),
            value_checksum: number(head, 40),
        };
        Ok((header, &head[LEN..]))
    }

    /// Returns where the value begins in the file.
    pub(crate) fn value_offset(&self) -> usize {
        LEN + usize::from(self.key_len)
    }

    /// Returns the length of the entry in the file. `None` if no file can be so long.
    pub(crate) fn total_len(&self) -> Option<u64> {
        (self.value_offset() as u64).checked_add(self.value_len)
    }

    /// Returns whether the bytes are the value, by their checksum.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        self.value_checksum == checksum(value)
    }

    pub(crate) fn is_live(&self, now: u64) -> bool {
        self.expires == 0 || self.expires > now
    }
}

/// Returns the checksum of a value.
pub(crate) fn checksum(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Returns the checksum of header and key. Its seed is the first eight bytes; its own eight bytes
/// are left out.
fn head_checksum(head: &[u8]) -> u64 {
    xxh3_64_with_seed(&head[16..], number(head, 0))
}

/// Reads a number. Behind the end it is 0, but no caller reads there.
fn number(bytes: &[u8], offset: usize) -> u64 {
    let bytes = bytes.get(offset..offset + 8).and_then(|it| it.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(key: &[u8], value: &[u8]) -> Header {
        Header {
            is_complete: true,
            key_len: u16::try_from(key.len()).unwrap(),
            value_len: value.len() as u64,
            expires: 5,
            stamp: 7,
            value_checksum: checksum(value),
        }
    }

    #[test]
    fn encoded_header_is_decoded() {
        let header = header(b"a:1:k", b"value");
        let bytes = header.encode(b"a:1:k");
        assert_eq!(Header::decode(&bytes), Ok((header, &b"a:1:k"[..])));
        let incomplete = Header { is_complete: false, ..header };
        assert_eq!(Header::decode(&incomplete.encode(b"a:1:k")).unwrap().0, incomplete);
    }

    #[test]
    fn header_with_a_flipped_bit_or_cut_off_is_damaged() {
        let good = header(b"a:1:k", b"value").encode(b"a:1:k");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
        for len in 1..good.len() {
            assert_eq!(Header::decode(&good[..len]), Err(DecodeError::Damaged), "{len} bytes");
        }
        assert_eq!(Header::decode(b""), Err(DecodeError::Empty));
    }

    #[test]
    fn newer_version_is_not_damage() {
        let mut bytes = header(b"k", b"").encode(b"k");
        bytes[4] = VERSION + 1;
        assert_eq!(Header::decode(&bytes), Err(DecodeError::Newer));
        bytes[4] = 0;
        assert_eq!(Header::decode(&bytes), Err(DecodeError::Damaged));
    }

    /// The corpus has every kind of file that the tests of damage make. The fuzzer starts with it.
    #[test]
    fn only_good_files_of_the_corpus_decode_to_an_entry() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
        let seeds: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|it| it.unwrap()).collect();
        assert!(seeds.len() >= 8);
        for seed in seeds {
            let bytes = std::fs::read(seed.path()).unwrap();
            let is_good = seed.file_name().to_string_lossy().starts_with("good");
            let is_entry = Header::decode(&bytes).is_ok_and(|(it, _)| {
                let end = it.total_len().and_then(|it| usize::try_from(it).ok());
                let value = end.and_then(|end| bytes.get(it.value_offset()..end));
                it.is_complete && value.is_some_and(|value| it.matches(value))
            });
            assert_eq!(is_entry, is_good, "{}", seed.path().display());
            for at in 0..bytes.len().min(200) {
                for other in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = other;
                    let _ = Header::decode(&changed).map(|(it, _)| it.total_len());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(2000)
        })]

        #[test]
        fn any_bytes_that_decode_encode_to_themselves(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            has_magic in any::<bool>(),
        ) {
            if has_magic && bytes.len() > 5 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4] = VERSION;
                bytes[5] &= 1;
            }
            if let Ok((header, key)) = Header::decode(&bytes) {
                prop_assert_eq!(key.len(), usize::from(header.key_len));
                prop_assert_eq!(&header.encode(key)[..], &bytes[..header.value_offset()]);
            }
        }

        #[test]
        fn any_header_is_read_back(
            key in proptest::collection::vec(any::<u8>(), 0..MAX_KEY),
            numbers in any::<(u64, u64, u64, u64)>(),
            is_complete in any::<bool>(),
        ) {
            let (value_len, expires, stamp, value_checksum) = numbers;
            let key_len = u16::try_from(key.len()).unwrap();
            let header = Header { is_complete, key_len, value_len, expires, stamp, value_checksum };
            let bytes = header.encode(&key);
            prop_assert_eq!(Header::decode(&bytes), Ok((header, &key[..])));
        }
    }
}
