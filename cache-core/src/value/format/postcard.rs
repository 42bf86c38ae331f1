//! postcard: neither field names nor types, so the smallest and fastest codec. Only the type that
//! wrote a value can read it.

use ::postcard::{Deserializer, Error, Serializer, ser_flavors::Flavor};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    bounded::Bounds,
    checked::write,
    checks::{Checks, MAX_EMPTY_ITEMS, Refused},
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
    let begin = stored.len();
    let checks = Checks::postcard();
    let mut res = write(value, &mut Serializer { output: Appended(stored) }, &checks);
    if checks.items().saturating_sub(stored.len() - begin) > MAX_EMPTY_ITEMS {
        res = Err(Some(Refused::EmptyItems));
    }
    res.map_err(|refused| {
        let why = refused.map_or("its `Serialize` failed", Refused::as_str);
        cannot_encode::<T>("postcard", why)
    })?;
    Ok(checks.integer())
}

pub(in crate::value) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let problem = |what| Problem { codec: "postcard", what, position: None };
    let bounds = Bounds::new(bytes.len());
    let mut reader = Deserializer::from_bytes(bytes);
    let value = T::deserialize(bounds.around(&mut reader)).map_err(|error| {
        let what = match error {
            Error::DeserializeUnexpectedEnd => "truncated",
            Error::DeserializeBadUtf8 => "text that is not UTF-8",
            Error::WontImplement => {
                "the type needs a codec that describes its values (`untagged`, `tag`, `flatten`, \
                 `serde_json::Value`): use JSON or MessagePack"
            }
            _ => "data of another type",
        };
        problem(bounds.exceeded().unwrap_or(what))
    })?;
    match reader.finalize() {
        Ok([]) => Ok(value),
        _ => Err(problem("data of another type")),
    }
}

/// Writes to the end of a vector.
struct Appended<'a>(&'a mut Vec<u8>);

impl Flavor for Appended<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> ::postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> ::postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> ::postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
        let mut stored = Vec::new();
        assert_eq!(encode(value, &mut stored).unwrap(), None);
        stored
    }

    #[test]
    fn integer_within_64_bits_is_returned() {
        for integer in [0, 1, -1, 300, i64::MIN, i64::MAX] {
            assert_eq!(encode(&integer, &mut Vec::new()).unwrap(), Some(integer));
            assert_eq!(encode(&i128::from(integer), &mut Vec::new()).unwrap(), Some(integer));
        }
        assert_eq!(encode(&Some(7_u128), &mut Vec::new()).unwrap(), Some(7));
        assert_eq!(encode(&u64::MAX, &mut Vec::new()).unwrap(), None);
        assert_eq!(encode(&(7,), &mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn bytes_of_another_type_are_refused() {
        let what = |bytes: &[u8]| decode::<(u32, String)>(bytes).unwrap_err().what;
        let stored = encoded(&(7_u32, "text"));
        assert_eq!(decode::<(u32, String)>(&stored), Ok((7, "text".to_owned())));
        assert_eq!(what(&stored[..3]), "truncated");
        assert_eq!(what(&[&stored[..], b"x"].concat()), "data of another type");
        assert_eq!(what(&[7, 1, 0xff]), "text that is not UTF-8");
        assert_eq!(decode::<bool>(&[2]).unwrap_err().what, "data of another type");
        let value = decode::<serde_json::Value>(&stored).unwrap_err();
        assert!(value.what.contains("describes"), "{value:?}");
    }

    #[test]
    fn list_without_content_is_read_to_its_limit() {
        let stored = encoded(&vec![(); MAX_EMPTY_ITEMS]);
        assert_eq!(decode::<Vec<()>>(&stored).map(|it| it.len()), Ok(MAX_EMPTY_ITEMS));
        let error = encode(&vec![(); MAX_EMPTY_ITEMS + 100], &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("65,536"), "{error}");
        // The length of such a list in foreign bytes.
        let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(decode::<Vec<()>>(&endless).unwrap_err().what, "a list without an end");
    }
}
