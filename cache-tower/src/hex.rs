//! Digests as text for keys.

use std::fmt::Write as _;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut res, byte| {
        // A `String` takes all that is written.
        let _ = write!(res, "{byte:02x}");
        res
    })
}
