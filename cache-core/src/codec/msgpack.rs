use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Content, Undecodable, cannot_encode, envelope};
use crate::Result;

/// As deep as JSON may be. Whoever writes to the store decides how deep its bytes are, and the crate's own limit is deeper than the
/// stack of a thread.
const MAX_DEPTH: usize = 128;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let bytes = rmp_serde::to_vec_named(value)
        .map_err(|_| cannot_encode("MessagePack: its `Serialize` failed"))?;
    Ok(integer(&bytes)
        .map_or_else(|| envelope::wrap(Content::MsgPack, &bytes), |it| it.to_string().into()))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecodable> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut reader).map_err(|_| Undecodable::OtherType)
}

/// The integer that the bytes are: fixnums and the tags 0xcc (u8) to 0xd3 (i64). What is above `i64` is no
/// integer of ours.
fn integer(bytes: &[u8]) -> Option<i64> {
    matches!(bytes.first()?, 0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff)
        .then(|| rmp_serde::from_slice(bytes).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        let mut res = vec![0x91; depth];
        res.push(0xc0);
        res
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_before_the_stack_ends() {
        assert!(decode::<Value>(&nested(100)).is_ok());
        for depth in [200, 2000, 1_000_000] {
            assert_eq!(decode::<Value>(&nested(depth)), Err(Undecodable::OtherType), "{depth}");
        }
    }

    #[test]
    fn integers_are_plain_text_and_all_else_is_wrapped() {
        for it in [0, 1, -1, 127, 128, -33, 300, 70_000, i64::MIN, i64::MAX] {
            assert_eq!(encode(&it).unwrap(), it.to_string());
            assert_eq!(crate::codec::decode::<i64>(&encode(&it).unwrap()), Ok(it));
        }
        for text in ["1", "a", ""] {
            let stored = encode(text).unwrap();
            assert!(envelope::looks_wrapped(&stored));
            assert_eq!(crate::codec::decode::<String>(&stored).as_deref(), Ok(text));
        }
        assert_eq!(crate::codec::decode::<u64>(&encode(&u64::MAX).unwrap()), Ok(u64::MAX));
        assert_eq!(crate::codec::decode::<Option<()>>(&encode(&None::<()>).unwrap()), Ok(None));
        assert_eq!(crate::codec::decode::<f64>(&encode(&1.5).unwrap()), Ok(1.5));
    }
}
