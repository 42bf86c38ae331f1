//! The header before stored bytes that need one.
//!
//! | bytes | content |
//! |---|---|
//! | 0–1 | `C1 CA`: no JSON, no number and no other UTF-8 begins with `C1` |
//! | 2–3 | length of the header (at least 20): the payload begins there |
//! | 4–5 | format of the payload: 0 a caller's own bytes, 1 `MessagePack`, 2 postcard |
//! | 6–7 | flags: 0x0001 the payload is compressed with LZ4, 0x0002 with Zstandard, 0x0100 an [entry](super::envelope) with [fields](super::fields) of its own, 0x0200 a [lease](super::envelope::lease), whose payload is its token, 0x0400 the fields of an entry contain its revision, 0x0800 they end with its tags |
//! | 8–15 | length of the payload |
//! | 16–19 | CRC-32 of bytes 2–15 and of everything from byte 20 on; but of a payload with a header only of the first 20 bytes |
//! | 20– | fields of later releases, up to the length of the header |
//! | … | the payload |
//!
//! The payload of an entry is a stored value, which may have a header with a checksum of its own.
//! So that a reader does not compute two checksums of the same bytes, the one of the entry ends
//! with the first 20 bytes of that header.
//!
//! A compressed payload begins with the length of the uncompressed one, 8 bytes.
//!
//! Numbers are little-endian. These 20 bytes never change. A later release adds fields behind them.
//! If a reader must know a field to read the value, the release also defines a flag: a reader that
//! does not know the flag leaves the entry alone. A reader skips all other fields.

use super::fields::{ENVELOPE, Fields, TAGS};

const MAGIC: [u8; 2] = [0xc1, 0xca];
const LZ4: u16 = Method::Lz4 as u16;
const ZSTD: u16 = Method::Zstd as u16;
/// The payload is the token of a [lease](super::envelope::lease).
pub(super) const LEASE: u16 = 0x0200;

/// The length of the header that this release writes.
const WRITTEN_LEN: u16 = 20;
pub(super) const LEN: usize = WRITTEN_LEN as usize;

/// The length of the token of a lease.
pub(super) const TOKEN: usize = 16;

/// The length of the length before compressed bytes.
pub(super) const COMPRESSED_HEAD: usize = 8;

/// The format of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A caller's own bytes.
    Raw = 0,
    MsgPack = 1,
    Postcard = 2,
}

/// The compression of a payload, by its flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Lz4 = 0x0001,
    Zstd = 0x0002,
}

/// Stored bytes, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// Bytes without a header.
    Plain(&'a [u8]),
    /// The payload behind a header.
    Payload(Format, &'a [u8]),
    /// The fields of an entry, and its payload.
    Envelope(Fields<'a>, &'a [u8]),
    /// The token of a lease.
    Lease(&'a [u8; TOKEN]),
    /// The compressed payload behind a header.
    Compressed(Method, Format, &'a [u8]),
}

/// The reason why stored bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corrupt {
    /// A newer release wrote the entry and can read it.
    Newer,
    /// A length or the checksum is wrong, so no release can read the entry.
    Damaged,
}

/// The parts of bytes that have a header of a possible length.
struct Parts<'a> {
    /// The 20 bytes that every header has.
    fixed: &'a [u8; LEN],
    /// Further fields and the payload.
    rest: &'a [u8],
    payload: &'a [u8],
}

pub(super) fn has_magic(stored: &[u8]) -> bool {
    stored.starts_with(&MAGIC)
}

/// Returns the length of the uncompressed payload without checking the checksum; of an entry, that
/// of the payload in it. Bytes that only begin like a header are all payload.
pub(super) fn payload_len(stored: &[u8]) -> usize {
    match Parts::of(stored) {
        Some(parts) if parts.flags() & ENVELOPE != 0 => {
            Parts::of(parts.payload).map_or(parts.payload.len(), |it| it.uncompressed_len())
        }
        Some(parts) => parts.uncompressed_len(),
        None => stored.len(),
    }
}

/// Fills in the header in the first [`LEN`] bytes, which lie before the payload.
pub(super) fn fill(stored: &mut [u8], format: Format, method: Option<Method>) {
    fill_in(stored, format, WRITTEN_LEN, method.map_or(0, |it| it as u16));
}

/// Returns an entry: its header with these fields, and its payload.
pub(super) fn envelope(fields: Fields<'_>, payload: &[u8]) -> Vec<u8> {
    let mut stored = vec![0; LEN];
    let flags = fields.write(&mut stored);
    // With all fields it has 1,076 bytes.
    let len = u16::try_from(stored.len()).unwrap_or(u16::MAX);
    stored.extend_from_slice(payload);
    fill_in(&mut stored, Format::Raw, len, flags);
    stored
}

/// Fills in the header of a lease before its token.
pub(super) fn fill_lease(stored: &mut [u8; LEN + TOKEN]) {
    fill_in(stored, Format::Raw, WRITTEN_LEN, LEASE);
}

fn fill_in(stored: &mut [u8], format: Format, len: u16, flags: u16) {
    let Some((fixed, rest)) = stored.split_first_chunk_mut::<LEN>() else { return };
    let payload = rest.len().saturating_sub(usize::from(len) - LEN);
    fixed[..2].copy_from_slice(&MAGIC);
    fixed[2..4].copy_from_slice(&len.to_le_bytes());
    fixed[4..6].copy_from_slice(&(format as u16).to_le_bytes());
    fixed[6..8].copy_from_slice(&flags.to_le_bytes());
    fixed[8..16].copy_from_slice(&(payload as u64).to_le_bytes());
    let sum = checksum(fixed, covered(rest, payload, flags));
    fixed[16..].copy_from_slice(&sum.to_le_bytes());
}

/// Returns whether the bytes begin like an entry with tags.
pub(super) fn has_tags(stored: &[u8]) -> bool {
    Parts::of(stored).is_some_and(|it| it.flags() & (ENVELOPE | TAGS) == ENVELOPE | TAGS)
}

/// Returns the fields and the payload of an entry; `None` if the bytes are no entry or damaged.
pub(super) fn read_envelope(stored: &[u8]) -> Option<(Fields<'_>, &[u8])> {
    // First, so that no checksum of other bytes is computed, which `read` does.
    Parts::of(stored).filter(|it| it.flags() & ENVELOPE != 0)?;
    match read(stored) {
        Ok(Stored::Envelope(fields, payload)) => Some((fields, payload)),
        _ => None,
    }
}

/// Returns the token of a lease; `None` if the bytes are not a lease.
pub(super) fn read_lease(stored: &[u8]) -> Option<&[u8; TOKEN]> {
    Parts::of(stored).filter(|it| it.flags() == LEASE)?;
    match read(stored) {
        Ok(Stored::Lease(token)) => Some(token),
        _ => None,
    }
}

pub(super) fn read(stored: &[u8]) -> Result<Stored<'_>, Corrupt> {
    if !has_magic(stored) {
        return Ok(Stored::Plain(stored));
    }
    let parts = Parts::of(stored).ok_or(Corrupt::Damaged)?;
    let Parts { fixed, rest, payload } = parts;
    if fixed[16..] != checksum(fixed, covered(rest, payload.len(), parts.flags())).to_le_bytes() {
        return Err(Corrupt::Damaged);
    }
    if parts.flags() & ENVELOPE != 0 {
        let fields = &rest[..rest.len() - payload.len()];
        let fields = Fields::of(fields, parts.flags()).ok_or(Corrupt::Newer)?;
        return Ok(Stored::Envelope(fields, payload));
    }
    if parts.flags() == LEASE {
        return payload.try_into().map(Stored::Lease).map_err(|_| Corrupt::Newer);
    }
    let format = match u16::from_le_bytes([fixed[4], fixed[5]]) {
        0 => Format::Raw,
        1 => Format::MsgPack,
        2 => Format::Postcard,
        _ => return Err(Corrupt::Newer),
    };
    match parts.flags() {
        0 => Ok(Stored::Payload(format, payload)),
        LZ4 => Ok(Stored::Compressed(Method::Lz4, format, payload)),
        ZSTD => Ok(Stored::Compressed(Method::Zstd, format, payload)),
        _ => Err(Corrupt::Newer),
    }
}

/// Splits a compressed payload into the length of the uncompressed one and the compressed bytes.
pub(super) fn split_compressed(payload: &[u8]) -> Option<(u64, &[u8])> {
    let (len, compressed) = payload.split_first_chunk::<COMPRESSED_HEAD>()?;
    Some((u64::from_le_bytes(*len), compressed))
}

impl<'a> Parts<'a> {
    /// Splits the bytes, if they have the magic and both lengths are right.
    fn of(stored: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = stored.split_first_chunk::<LEN>().filter(|_| has_magic(stored))?;
        let len = usize::from(u16::from_le_bytes([fixed[2], fixed[3]]));
        let payload = rest.get(len.checked_sub(LEN)?..)?;
        let is_right = fixed[8..16] == (payload.len() as u64).to_le_bytes();
        is_right.then_some(Self { fixed, rest, payload })
    }

    /// Returns the length of the uncompressed payload, as the bytes tell it.
    fn uncompressed_len(&self) -> usize {
        let len = self.payload.len();
        if self.flags() & (LZ4 | ZSTD) == 0 {
            return len;
        }
        split_compressed(self.payload)
            .map_or(len, |(len, _)| usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn flags(&self) -> u16 {
        u16::from_le_bytes([self.fixed[6], self.fixed[7]])
    }
}

/// Returns the bytes behind the first 20 that the checksum covers: all of them, or those before the
/// bytes that the checksum of a header in an entry covers.
fn covered(rest: &[u8], payload: usize, flags: u16) -> &[u8] {
    let inner = &rest[rest.len() - payload..];
    match Parts::of(inner) {
        Some(inner) if flags & ENVELOPE != 0 => &rest[..rest.len() - inner.rest.len()],
        _ => rest,
    }
}

fn checksum(fixed: &[u8; LEN], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&fixed[2..16]);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::value::fields::{FIELDS, MAX_TAGS, TAG};

    /// Bytes as another release may write them: with these flags, this format and these further
    /// fields.
    pub(in crate::value) fn foreign(
        flags: u16,
        format: u16,
        fields: &[u8],
        payload: &[u8],
    ) -> Vec<u8> {
        let len = u16::try_from(LEN + fields.len()).unwrap();
        let mut fixed = [0; LEN];
        fixed[..2].copy_from_slice(&MAGIC);
        fixed[2..4].copy_from_slice(&len.to_le_bytes());
        fixed[4..6].copy_from_slice(&format.to_le_bytes());
        fixed[6..8].copy_from_slice(&flags.to_le_bytes());
        fixed[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let rest = [fields, payload].concat();
        let sum = checksum(&fixed, &rest);
        fixed[16..].copy_from_slice(&sum.to_le_bytes());
        [&fixed[..], &rest].concat()
    }

    fn filled(format: Format, payload: &[u8]) -> Vec<u8> {
        let mut stored = [&[0; LEN], payload].concat();
        fill(&mut stored, format, None);
        stored
    }

    #[test]
    fn filled_header_reads_back() {
        for payload in [&b""[..], b"x", &MAGIC, &[0; 300]] {
            let stored = filled(Format::Raw, payload);
            assert_eq!(stored, foreign(0, 0, b"", payload));
            assert_eq!(read(&stored), Ok(Stored::Payload(Format::Raw, payload)));
            assert_eq!(payload_len(&stored), payload.len());
        }
        assert_eq!(read(b"{}"), Ok(Stored::Plain(b"{}")));
        assert_eq!(read(&[0xc1]), Ok(Stored::Plain(&[0xc1])));
    }

    #[test]
    fn flipped_bit_or_cut_is_damage() {
        for stored in [filled(Format::MsgPack, b"payload"), foreign(0, 1, b"fields", b"payload")] {
            for bit in 16..stored.len() * 8 {
                let mut bad = stored.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&bad), Err(Corrupt::Damaged), "bit {bit}");
            }
            for len in 2..stored.len() {
                assert_eq!(read(&stored[..len]), Err(Corrupt::Damaged), "cut to {len}");
            }
        }
    }

    #[test]
    fn unknown_flag_or_format_is_of_a_newer_release() {
        for flag in (0..16).map(|it| 1 << it).filter(|it| ![LZ4, ZSTD].contains(it)) {
            // No release wrote an entry without all of its fields, or a lease without its token.
            for flags in [flag, flag | LZ4] {
                assert_eq!(read(&foreign(flags, 0, b"", b"x")), Err(Corrupt::Newer), "{flags}");
            }
        }
        assert_eq!(read(&foreign(LZ4 | ZSTD, 0, b"", b"x")), Err(Corrupt::Newer));
        for format in [3, 256, u16::MAX] {
            assert_eq!(read(&foreign(0, format, b"", b"x")), Err(Corrupt::Newer), "{format}");
        }
        let mut damaged = foreign(1, 0, b"", b"x");
        damaged[LEN] ^= 1;
        assert_eq!(read(&damaged), Err(Corrupt::Damaged));
    }

    #[test]
    fn tags_of_an_impossible_length_are_of_a_newer_release() {
        let read_fields = |flags, len| {
            let stored = foreign(flags, 0, &vec![7; len], b"x");
            read_envelope(&stored).map(|(fields, payload)| (fields.tags.len(), payload.len()))
        };
        let tagged = ENVELOPE | TAGS;
        assert_eq!(read_fields(tagged, FIELDS + TAG), Some((TAG, 1)));
        assert_eq!(read_fields(tagged, FIELDS + TAG * MAX_TAGS), Some((TAG * MAX_TAGS, 1)));
        for odd in [0, FIELDS, FIELDS + 1, FIELDS + TAG + 8, FIELDS + TAG * (MAX_TAGS + 1)] {
            assert_eq!(read_fields(tagged, odd), None, "{odd}");
            assert_eq!(read(&foreign(tagged, 0, &vec![7; odd], b"x")), Err(Corrupt::Newer));
        }
        assert_eq!(read_fields(ENVELOPE, FIELDS + 9), Some((0, 1)), "fields of a later release");
        assert_eq!(read_fields(TAGS, FIELDS + TAG), None, "tags without an entry");
        assert_eq!(read_fields(tagged | 0x4000, FIELDS + TAG), None);
    }

    #[test]
    fn further_fields_are_skipped() {
        for fields in [vec![1], vec![0; 300], vec![7; 65_515]] {
            let stored = foreign(0, 0, &fields, b"payload");
            assert_eq!(read(&stored), Ok(Stored::Payload(Format::Raw, b"payload")));
            assert_eq!(payload_len(&stored), 7);
        }
    }

    #[test]
    fn compressed_payload_has_the_length_of_the_uncompressed_one() {
        for (flag, method) in [(LZ4, Method::Lz4), (ZSTD, Method::Zstd)] {
            let payload = [&1000_u64.to_le_bytes()[..], b"x"].concat();
            let stored = foreign(flag, 1, b"fields", &payload);
            let read = read(&stored);
            assert_eq!(read, Ok(Stored::Compressed(method, Format::MsgPack, &payload)));
            assert_eq!(payload_len(&stored), 1000);
            assert_eq!(payload_len(&foreign(flag, 1, b"", b"short")), 5);
        }
    }

    #[test]
    fn impossible_length_of_the_header_is_damage() {
        for len in [0, 19, 22, u16::MAX] {
            let mut stored = filled(Format::Raw, b"x");
            stored[2..4].copy_from_slice(&len.to_le_bytes());
            assert_eq!(read(&stored), Err(Corrupt::Damaged), "{len}");
            assert_eq!(payload_len(&stored), stored.len(), "{len}");
        }
    }
}
