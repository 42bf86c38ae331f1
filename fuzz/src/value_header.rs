//! The header of stored values, written again from the table in `cache-core/src/value/header.rs`:
//! the pipeline is compared with it.

/// The length of a header without further fields.
pub(crate) const LEN: u8 = 20;

/// The place of the low byte of the header's length, and of the format.
pub(crate) const HEADER_LEN: usize = 2;
pub(crate) const FORMAT: usize = 4;

const MAGIC: &[u8] = &[0xc1, 0xca];

/// The required outcome of a read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected<'a> {
    /// It returns this payload.
    Payload(&'a [u8]),
    /// It returns a payload of this length, or is a miss, because the bytes cannot be uncompressed.
    Compressed(Option<u64>),
    /// It is a miss, and the entry stays for newer releases.
    Kept,
    /// It is a miss, and the entry is removed.
    Removed,
}

/// Returns the required outcome of a read of these bytes.
pub(crate) fn expected(stored: &[u8]) -> Expected<'_> {
    if !stored.starts_with(MAGIC) {
        return Expected::Payload(stored);
    }
    let is_intact = mended(stored).is_some_and(|it| it == stored);
    let Some(payload) = payload(stored).filter(|_| is_intact) else { return Expected::Removed };
    if stored[5] != 0 || stored[FORMAT] > 2 {
        return Expected::Kept;
    }
    match stored[6..8] {
        [0, 0] => Expected::Payload(payload),
        [1 | 2, 0] => Expected::Compressed(payload.first_chunk().map(|it| u64::from_le_bytes(*it))),
        _ => Expected::Kept,
    }
}

/// Returns the bytes with the magic, the length of the payload and the checksum corrected, because
/// a fuzzer does not guess them. `None` if the length of the header is impossible.
pub(crate) fn mended(stored: &[u8]) -> Option<Vec<u8>> {
    let payload_bytes = payload(stored)?;
    let len = payload_bytes.len() as u64;
    let mut res = stored.to_vec();
    res[..2].copy_from_slice(MAGIC);
    res[8..16].copy_from_slice(&len.to_le_bytes());
    // The payload of an entry may have a header with a checksum of its own.
    let own = if stored[7] & 1 != 0 && is_header(payload_bytes) {
        stored.len() - payload_bytes.len() + usize::from(LEN)
    } else {
        stored.len()
    };
    let mut sum = crc32fast::Hasher::new();
    sum.update(&res[2..16]);
    sum.update(&res[usize::from(LEN)..own]);
    res[16..20].copy_from_slice(&sum.finalize().to_le_bytes());
    Some(res)
}

fn payload(stored: &[u8]) -> Option<&[u8]> {
    let low = *stored.get(HEADER_LEN)?;
    let len = usize::from(u16::from_le_bytes([low, *stored.get(HEADER_LEN + 1)?]));
    stored.get(len..).filter(|_| len >= usize::from(LEN))
}

/// Returns whether bytes begin with a header whose lengths are right.
fn is_header(stored: &[u8]) -> bool {
    let len = |payload: &[u8]| stored[8..16] == (payload.len() as u64).to_le_bytes();
    stored.starts_with(MAGIC)
        && stored.len() >= usize::from(LEN)
        && payload(stored).is_some_and(len)
}
