//! The target for the decoder of the header of `cache-file`'s files.

// The header is private to the store, so this includes its source instead of making it public.
#[path = "../../cache-file/src/header.rs"]
mod header;

use self::header::{DecodeError, Header, LEN, MAX_KEY};
use crate::layout;

/// Decodes any bytes as the start of a file, then again with correct checksums.
///
/// # Panics
/// If a wrong header is accepted, a correct one is rejected, or an accepted one is encoded
/// differently.
pub fn file_header(bytes: &[u8]) {
    check(bytes);
    if let Some(corrected) = layout::with_right_sums(bytes) {
        check(&corrected);
    }
}

fn check(bytes: &[u8]) {
    let expected = layout::head(bytes);
    match Header::decode(bytes) {
        Ok((header, key)) => {
            let expected = expected.expect("a wrong header is accepted");
            assert_eq!(
                (header.is_complete, key, header.expires),
                (expected.is_complete, expected.key, expected.expires)
            );
            assert!(key.len() <= MAX_KEY && key.len() == usize::from(header.key_len));
            assert_eq!(header.encode(key), bytes[..header.value_offset()]);
            let total = (LEN + key.len()) as u128 + u128::from(header.value_len);
            let total = u64::try_from(total).ok().map(u128::from);
            assert_eq!(header.total_len().map(u128::from), total);
            assert_eq!(expected.value.is_some_and(|it| header.matches(it)), expected.is_right);
            assert_eq!(header.is_live(u64::MAX), header.expires == 0);
        }
        Err(error) => {
            assert!(expected.is_none(), "{error:?} for a correct header: {expected:?}");
            assert_eq!(error == DecodeError::Empty, bytes.is_empty());
            assert!(error != DecodeError::Newer || bytes[4] > 1);
        }
    }
}
