//! The header before stored bytes, where one is needed.
//!
//! | bytes | what |
//! |---|---|
//! | 0–1 | `C1 CA`: the first can begin neither JSON nor a number nor other UTF-8 |
//! | 2 | version of the header: 1 |
//! | 3 | content: 0 a caller's own bytes, 1 `MessagePack` |
//! | 4–11 | length of the payload, little-endian |
//! | 12–15 | CRC-32 of bytes 2–11 and the payload, little-endian |
//! | 16– | the payload |

use bytes::{BufMut, Bytes, BytesMut};

const MAGIC: [u8; 2] = [0xc1, 0xca];
const VERSION: u8 = 1;
const LEN: usize = 16;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Raw = 0,
    MsgPack = 1,
}

/// Stored bytes, opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// There was no header.
    Plain(&'a [u8]),
    Wrapped(Content, &'a [u8]),
}

/// Why an envelope does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corrupt {
    /// A newer release wrote it: others can read it.
    Newer,
    /// Length or checksum are wrong: nobody can.
    Damaged,
}

pub(super) fn looks_wrapped(stored: &[u8]) -> bool {
    stored.starts_with(&MAGIC)
}

/// The length of the payload, without a look at the checksum. Bytes that only begin like an envelope are all payload.
pub(super) fn payload_len(stored: &[u8]) -> usize {
    match stored.split_at_checked(LEN) {
        Some((header, payload))
            if looks_wrapped(header) && header[4..12] == (payload.len() as u64).to_le_bytes() =>
        {
            payload.len()
        }
        _ => stored.len(),
    }
}

pub(super) fn wrap(content: Content, payload: &[u8]) -> Bytes {
    let mut res = BytesMut::with_capacity(LEN + payload.len());
    res.put_slice(&MAGIC);
    res.put_u8(VERSION);
    res.put_u8(content as u8);
    res.put_u64_le(payload.len() as u64);
    res.put_u32_le(checksum(&res[2..], payload));
    res.put_slice(payload);
    res.freeze()
}

pub(super) fn open(stored: &[u8]) -> Result<Stored<'_>, Corrupt> {
    if !looks_wrapped(stored) {
        return Ok(Stored::Plain(stored));
    }
    let Some((header, payload)) = stored.split_at_checked(LEN) else {
        return Err(Corrupt::Damaged);
    };
    let [_, _, version, content, len @ .., c0, c1, c2, c3] = header else {
        return Err(Corrupt::Damaged);
    };
    if *version > VERSION {
        return Err(Corrupt::Newer);
    }
    let whole = len == (payload.len() as u64).to_le_bytes()
        && u32::from_le_bytes([*c0, *c1, *c2, *c3]) == checksum(&header[2..12], payload);
    match (whole && *version == VERSION, content) {
        (true, 0) => Ok(Stored::Wrapped(Content::Raw, payload)),
        (true, 1) => Ok(Stored::Wrapped(Content::MsgPack, payload)),
        (true, _) => Err(Corrupt::Newer),
        (false, _) => Err(Corrupt::Damaged),
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_opens_again() {
        for payload in [&b""[..], b"x", &MAGIC, &[0; 300]] {
            let stored = wrap(Content::Raw, payload);
            assert_eq!(open(&stored), Ok(Stored::Wrapped(Content::Raw, payload)));
        }
        assert_eq!(open(b"{}"), Ok(Stored::Plain(b"{}")));
        assert_eq!(open(&[0xc1]), Ok(Stored::Plain(&[0xc1])));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let stored = wrap(Content::MsgPack, b"payload");
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(open(&bad), Ok(Stored::Wrapped(..))), "bit {bit}");
        }
        for len in 2..stored.len() {
            assert_eq!(open(&stored[..len]), Err(Corrupt::Damaged), "cut to {len}");
        }
    }

    #[test]
    fn what_a_newer_release_wrote_is_not_taken_for_damage() {
        let mut newer = wrap(Content::Raw, b"x").to_vec();
        newer[2] = VERSION + 1;
        assert_eq!(open(&newer), Err(Corrupt::Newer));
    }
}
