//! A buffer that is one allocation with its reference counter.

use bytes::Bytes;

/// Copies the parts, one after the other, into a new buffer.
///
/// `Bytes` from a `Vec` keep their reference counter in an allocation of its own, so that each read
/// of an entry would wait for one more line of memory. That of an array is beside its bytes. So the
/// array is the smallest one of these lengths; larger values keep their counter apart.
pub(crate) fn joined(parts: [&[u8]; 3]) -> Bytes {
    macro_rules! smallest {
        ($($len:literal)*) => {
            match parts.iter().map(|it| it.len()).sum() {
                $(0..=$len => array::<$len>(parts),)*
                _ => parts.concat().into(),
            }
        };
    }
    // Common allocators make steps of 16 bytes, and use 8 themselves; the counter takes 16.
    smallest!(
        24 40 56 72 88 104 120 136 152 168 184 200 216 232 248 264 280 296 312 328 344 360 376 392
        408 424 440 456 472 488 504
    )
}

/// Copies the parts into an array of `LEN` bytes, which they fit in.
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
