//! The buffer of an entry.

use bytes::Bytes;

/// Copies the parts, one after the other, into a new buffer.
///
/// `Bytes` from a `Vec` keep their reference counter in a second allocation, so that each read of
/// an entry would touch one more cache line. `Bytes` from an array keep it beside the array. The
/// buffer is the shortest of these arrays that is long enough, or else a `Vec`.
pub(crate) fn joined(parts: [&[u8]; 3]) -> Bytes {
    macro_rules! smallest {
        ($($len:literal)*) => {
            match parts.iter().map(|it| it.len()).sum() {
                $(0..=$len => array::<$len>(parts),)*
                _ => parts.concat().into(),
            }
        };
    }
    // The counter takes 8 bytes, and common allocators add 8 to a multiple of 16.
    smallest!(
        32 48 64 80 96 112 128 144 160 176 192 208 224 240 256 272 288 304 320 336 352 368 384 400
        416 432 448 464 480 496 512
    )
}

/// Copies the parts into an array of `LEN` bytes. The caller has checked that they fit.
fn array<const LEN: usize>(parts: [&[u8]; 3]) -> Bytes {
    let (mut array, mut len) = ([0; LEN], 0);
    for part in parts {
        if let Some(place) = array.get_mut(len..len + part.len()) {
            place.copy_from_slice(part);
            len += part.len();
        }
    }
    let mut bytes = Bytes::from_owner(array);
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_has_all_parts_for_each_length() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(700).collect();
        for len in 0..bytes.len() {
            for cut in [0, len / 3, len] {
                let (start, end) = bytes[..len].split_at(cut);
                let (middle, end) = end.split_at(end.len() / 2);
                let buffer = joined([start, middle, end]);
                assert_eq!(buffer, bytes[..len], "{len} bytes, the first part has {cut}");
                let part = buffer.slice(cut..);
                drop(buffer);
                assert_eq!(part, bytes[cut..len]);
            }
        }
    }
}
