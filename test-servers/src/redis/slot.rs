//! The slots of Redis Cluster.

/// The number of slots.
pub(super) const SLOTS: usize = 16_384;

/// Returns the slot of a key. It is computed from the hash tag, the text between the first `{` and
/// the next `}`, unless that is empty or absent; then from the whole key.
///
/// ```
/// use test_servers::slot_of;
///
/// assert_eq!(slot_of("123456789"), 12_739);
/// assert_eq!(slot_of("a{user}b"), slot_of("user"));
/// ```
pub fn slot_of(key: &str) -> usize {
    let tag = key.split_once('{').and_then(|(_, it)| it.split_once('}')).map(|(it, _)| it);
    let hashed = tag.filter(|it| !it.is_empty()).unwrap_or(key);
    usize::from(crc16(hashed.as_bytes())) % SLOTS
}

/// Returns the CRC-16/XMODEM checksum.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
        })
    })
}
