//! The slot of a key in a Cluster, and its connection.

/// The number of slots of a Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// Returns the slot of a key: the CRC16 of the key, or of the text between the first `{` and the
/// next `}` if that text is not empty. See "Hash tags" in the specification of Redis Cluster.
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    checksum(tag.filter(|it| !it.is_empty()).unwrap_or(key)) % SLOTS
}

/// Returns the number of the connection for a key. It does not depend on the hash tag, so that the
/// keys of one slot are spread over all connections.
pub(crate) fn connection_index(key: &str, connections: usize) -> usize {
    if connections == 1 { 0 } else { usize::from(checksum(key)) % connections }
}

/// CRC16 in the variant XMODEM.
fn checksum(text: &str) -> u16 {
    text.bytes().fold(0, |sum: u16, byte| (sum << 8) ^ TABLE[usize::from((sum >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = {
    let mut res = [0; 256];
    let mut i: u16 = 0;
    while i < 256 {
        let mut sum = i << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
            bit += 1;
        }
        res[i as usize] = sum;
        i += 1;
    }
    res
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_match_the_specification() {
        assert_eq!(checksum("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(slot("foo{}{bar}"), checksum("foo{}{bar}") % SLOTS);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
    }
}
