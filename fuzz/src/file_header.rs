//! The decoder of what a file of `cache-file` begins with.

// It is nobody's business but the store's, so it is taken from where it is instead of being made public.
#[path = "../../cache-file/src/header.rs"]
mod header;

use self::header::{Bad, Header, LEN, MAX_KEY};
use crate::layout;

/// Any bytes as the beginning of a file, and once more with their sums put right.
///
/// # Panics
/// If they are taken for what they are not, or are not written again as they were.
pub fn file_header(bytes: &[u8]) {
    check(bytes);
    if let Some(mended) = layout::with_right_sums(bytes) {
        check(&mended);
    }
}

fn check(bytes: &[u8]) {
    let known = layout::head(bytes);
    match Header::decode(bytes) {
        Ok((header, key)) => {
            let known = known.expect("taken, and wrong");
            assert_eq!(
                (header.whole, key, header.expires),
                (known.whole, known.key, known.expires)
            );
            assert!(key.len() <= MAX_KEY && key.len() == usize::from(header.key_len));
            assert_eq!(header.encode(key), bytes[..header.value_at()]);
            let total = (LEN + key.len()) as u128 + u128::from(header.value_len);
            assert_eq!(header.total().map(u128::from), u64::try_from(total).ok().map(u128::from));
            assert_eq!(known.value.is_some_and(|it| header.is_of(it)), known.is_right);
            assert_eq!(header.is_live(u64::MAX), header.expires == 0);
        }
        Err(why) => {
            assert!(known.is_none(), "{why:?}, but it is right: {known:?}");
            assert_eq!(why == Bad::Unfinished, bytes.is_empty());
            assert!(why != Bad::Newer || bytes[4] > 1);
        }
    }
}
