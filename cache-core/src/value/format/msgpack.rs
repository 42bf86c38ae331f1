//! `MessagePack` with named fields. Types are written in the form that they have in JSON
//! (`is_human_readable`), because serde's buffer (for enums with `tag` or `untagged`, and
//! `flatten`) reads them in that form.

use rmp_serde::decode;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    checked::write,
    checks::{Checks, MAX_DEPTH},
};
use crate::{
    error::Result,
    value::undecodable::{Problem, cannot_encode},
};

/// Appends the value to `stored`. Returns the whole value, if it is an integer within `i64`.
pub(in crate::value) fn encode<T: Serialize + ?Sized>(
    value: &T,
    stored: &mut Vec<u8>,
) -> Result<Option<i64>> {
    let mut writer = rmp_serde::Serializer::new(stored).with_struct_map().with_human_readable();
    let checks = Checks::default();
    write(value, &mut writer, &checks).map_err(|refused| {
        cannot_encode::<T>(
            "MessagePack",
            refused.map_or("its `Serialize` failed", |it| it.as_str()),
        )
    })?;
    Ok(checks.integer())
}

pub(in crate::value) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let problem = |what| Problem { codec: "MessagePack", what, position: None };
    // rmp-serde does not count variants: a recursive type could overflow the stack.
    if bytes.len() > MAX_DEPTH && skip(bytes, 0) == Err(Stop::TooDeep) {
        return Err(problem("nested too deep"));
    }
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(&mut reader).map_err(|error| {
        problem(match error {
            decode::Error::InvalidMarkerRead(_) | decode::Error::InvalidDataRead(_) => "truncated",
            decode::Error::DepthLimitExceeded => "nested too deep",
            decode::Error::Utf8Error(_) => "text that is not UTF-8",
            _ => "data of another type",
        })
    })
}

/// The reason why a value could not be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    TooDeep,
    /// The bytes are truncated or not `MessagePack`. The decoder returns the error.
    Bad,
}

/// Returns the bytes after the first value. `depth` is the nesting of that value.
fn skip(bytes: &[u8], depth: usize) -> Result<&[u8], Stop> {
    let (&marker, rest) = bytes.split_first().ok_or(Stop::Bad)?;
    match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok(rest),
        0x80..=0x8f => skip_items(rest, depth, u64::from(marker & 0x0f) * 2),
        0x90..=0x9f => skip_items(rest, depth, u64::from(marker & 0x0f)),
        0xa0..=0xbf => skip_bytes(rest, u64::from(marker & 0x1f)),
        0xc1 => Err(Stop::Bad),
        0xc4..=0xc6 | 0xd9..=0xdb => {
            let width = 1 << (if marker < 0xd0 { marker - 0xc4 } else { marker - 0xd9 });
            number(rest, width).and_then(|(len, rest)| skip_bytes(rest, len))
        }
        0xc7..=0xc9 => {
            number(rest, 1 << (marker - 0xc7)).and_then(|(len, rest)| skip_bytes(rest, len + 1))
        }
        0xca | 0xcb => skip_bytes(rest, 4 << (marker - 0xca)),
        0xcc..=0xcf => skip_bytes(rest, 1 << (marker - 0xcc)),
        0xd0..=0xd3 => skip_bytes(rest, 1 << (marker - 0xd0)),
        0xd4..=0xd8 => skip_bytes(rest, (1 << (marker - 0xd4)) + 1),
        0xdc | 0xdd => {
            number(rest, 2 << (marker - 0xdc)).and_then(|(len, rest)| skip_items(rest, depth, len))
        }
        0xde | 0xdf => number(rest, 2 << (marker - 0xde))
            .and_then(|(len, rest)| skip_items(rest, depth, len * 2)),
    }
}

fn skip_items(mut bytes: &[u8], depth: usize, count: u64) -> Result<&[u8], Stop> {
    if depth == MAX_DEPTH {
        return Err(Stop::TooDeep);
    }
    for _ in 0..count {
        bytes = skip(bytes, depth + 1)?;
    }
    Ok(bytes)
}

fn skip_bytes(bytes: &[u8], len: u64) -> Result<&[u8], Stop> {
    usize::try_from(len).ok().and_then(|it| bytes.get(it..)).ok_or(Stop::Bad)
}

/// Reads a big-endian number of `width` bytes. Returns it and the bytes after it.
fn number(bytes: &[u8], width: usize) -> Result<(u64, &[u8]), Stop> {
    let (number, rest) = bytes.split_at_checked(width).ok_or(Stop::Bad)?;
    Ok((number.iter().fold(0, |res, it| res << 8 | u64::from(*it)), rest))
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
    fn nesting_over_the_limit_is_refused_before_the_stack_overflows() {
        assert!(decode::<Value>(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 2000, 1_000_000] {
            assert_eq!(decode::<Value>(&nested(depth)).unwrap_err().what, "nested too deep");
        }
    }

    #[test]
    fn every_kind_of_value_is_skipped() {
        let values = [
            rmp_serde::to_vec(&(0, -1, 200, 70_000, u64::MAX, i64::MIN, true, ())).unwrap(),
            rmp_serde::to_vec(&("a", "b".repeat(40), "c".repeat(300), "d".repeat(70_000))).unwrap(),
            rmp_serde::to_vec(&(1.5_f32, 1.5_f64, vec![1; 20], vec![1; 70_000])).unwrap(),
            rmp_serde::to_vec(
                &(0..20).map(|it| (it, it)).collect::<std::collections::HashMap<_, _>>(),
            )
            .unwrap(),
            [&[0xc4, 2][..], b"ab"].concat(),
            [&[0xc5, 0, 2][..], b"ab"].concat(),
            [&[0xc6, 0, 0, 0, 2][..], b"ab"].concat(),
            [&[0xc7, 2, 9][..], b"ab"].concat(),
            [&[0xc8, 0, 2, 9][..], b"ab"].concat(),
            [&[0xc9, 0, 0, 0, 2, 9][..], b"ab"].concat(),
            [&[0xd4, 9][..], b"a"].concat(),
            [&[0xd8, 9][..], &[0; 16]].concat(),
            [&[0xdf, 0, 0, 0, 1][..], &[1, 2]].concat(),
        ];
        for mut value in values {
            let len = value.len();
            value.push(7);
            assert_eq!(skip(&value, 0), Ok(&[7][..]), "{:x?}", &value[..len.min(20)]);
            for cut in [1, len / 2, len - 1] {
                assert_eq!(skip(&value[..cut], 0), Err(Stop::Bad), "{:x?}", &value[..cut.min(20)]);
            }
        }
    }

    #[test]
    fn integer_within_64_bits_is_returned() {
        for integer in [0, 1, -1, 127, 128, -33, 300, 70_000, i64::MIN, i64::MAX] {
            assert_eq!(encode(&integer, &mut Vec::new()).unwrap(), Some(integer));
            assert_eq!(encode(&i128::from(integer), &mut Vec::new()).unwrap(), Some(integer));
        }
        assert_eq!(encode(&Some(7_u128), &mut Vec::new()).unwrap(), Some(7));
        assert_eq!(encode(&u64::MAX, &mut Vec::new()).unwrap(), None);
        assert_eq!(encode(&(7,), &mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn value_that_is_not_an_integer_decodes_equal() {
        let stored = |encode: &dyn Fn(&mut Vec<u8>) -> Result<Option<i64>>| {
            let mut stored = Vec::new();
            assert_eq!(encode(&mut stored).unwrap(), None);
            stored
        };
        for text in ["1", "a", ""] {
            assert_eq!(decode::<String>(&stored(&|to| encode(text, to))).as_deref(), Ok(text));
        }
        assert_eq!(decode::<u64>(&stored(&|to| encode(&u64::MAX, to))), Ok(u64::MAX));
        assert_eq!(decode::<Option<()>>(&stored(&|to| encode(&None::<()>, to))), Ok(None));
        assert_eq!(decode::<f64>(&stored(&|to| encode(&1.5, to))), Ok(1.5));
    }
}
