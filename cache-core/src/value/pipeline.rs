//! The only place where values become bytes and bytes become values.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "msgpack")]
use super::format::msgpack;
#[cfg(feature = "postcard")]
use super::format::postcard;
use super::{
    Codec,
    compress::Compressor,
    fields::Fields,
    format::json,
    header::{self, Format, Stored},
    undecodable::Undecodable,
};
use crate::error::Result;

/// The reason why a cache that does not ask for remaining lifetimes cannot read an entry.
const ENTRY: &str = "a cache with `revisions`, or with `grace` or `negative_ttl` in its table `fetch`, \
                     wrote the entry: set the same for this cache";
/// The reason why a cache that does not compare tags cannot read an entry.
const TAGGED: &str = "a cache with tags wrote the entry: set `tags = true` for this cache as well";
/// The reason why a cache that does not know leases cannot read one.
const LEASE: &str = "a fenced load of another cache is under way: set `fenced` in the table `fetch` \
                     of this cache as well";

/// The way of the values of one alias to stored bytes and back.
#[derive(Clone, Debug)]
pub struct Pipeline {
    codec: Codec,
    /// The other codecs whose values are read; all if `None`.
    read: Option<Box<[Codec]>>,
    compressor: Compressor,
}

impl Pipeline {
    /// Creates a pipeline that writes with `codec`, and reads the values of this codec and of those
    /// in `read`, or of every codec.
    pub(crate) fn new(codec: Codec, read: Option<&[Codec]>, compressor: Compressor) -> Self {
        Self { codec, read: read.map(Into::into), compressor }
    }

    /// Returns a value as the bytes that a store keeps, by this codec or that of the alias. JSON
    /// and integers have no header.
    pub(super) fn seal<T: Serialize + ?Sized>(
        &self,
        value: &T,
        codec: Option<Codec>,
    ) -> Result<Bytes> {
        let mut stored = Vec::with_capacity(128);
        let (format, head) = match codec.unwrap_or(self.codec) {
            Codec::Json => {
                json::encode(value, &mut stored)?;
                (Format::Raw, 0)
            }
            #[cfg(feature = "msgpack")]
            Codec::MsgPack => {
                stored.resize(header::LEN, 0);
                if let Some(integer) = msgpack::encode(value, &mut stored)? {
                    return Ok(integer.to_string().into());
                }
                (Format::MsgPack, header::LEN)
            }
            #[cfg(feature = "postcard")]
            Codec::Postcard => {
                stored.resize(header::LEN, 0);
                if let Some(integer) = postcard::encode(value, &mut stored)? {
                    return Ok(integer.to_string().into());
                }
                (Format::Postcard, header::LEN)
            }
        };
        let compressed = self.compressor.seal(format, &stored[head..], stored.len());
        if let Some(compressed) = compressed {
            return Ok(compressed);
        }
        if head > 0 {
            header::fill(&mut stored, format, None);
        }
        Ok(stored.into())
    }

    /// Reads stored bytes as a value. The bytes tell their format.
    pub(super) fn open<T: DeserializeOwned>(&self, stored: &Bytes) -> Result<T, Undecodable> {
        match header::read(stored)? {
            Stored::Envelope(fields, _) => Err(Undecodable::Foreign(entry_of(fields))),
            Stored::Lease(_) => Err(Undecodable::Foreign(LEASE)),
            Stored::Plain(bytes) => self.decode(Format::Raw, bytes),
            Stored::Payload(format, bytes) => self.decode(format, bytes),
            Stored::Compressed(method, format, bytes) => {
                self.decode(format, &self.compressor.open(method, bytes)?)
            }
        }
    }

    #[inline]
    fn decode<T: DeserializeOwned>(&self, format: Format, bytes: &[u8]) -> Result<T, Undecodable> {
        match format {
            // Every codec writes integers as JSON does.
            Format::Raw if self.reads(Codec::Json) || is_integer(bytes) => {
                json::decode(bytes).map_err(Undecodable::OtherType)
            }
            #[cfg(feature = "msgpack")]
            Format::MsgPack if self.reads(Codec::MsgPack) => {
                msgpack::decode(bytes).map_err(Undecodable::OtherType)
            }
            #[cfg(feature = "postcard")]
            Format::Postcard if self.reads(Codec::Postcard) => {
                postcard::decode(bytes).map_err(Undecodable::OtherType)
            }
            _ => Err(unread(format)),
        }
    }

    /// Returns a caller's own bytes as a store keeps them, or `None` if it keeps them unchanged.
    #[inline]
    pub(super) fn seal_bytes(&self, bytes: &[u8]) -> Option<Bytes> {
        let compressed = self.compressor.seal(Format::Raw, bytes, bytes.len());
        compressed.or_else(|| header::has_magic(bytes).then(|| behind_header(bytes)))
    }

    /// Returns whether a caller's own bytes are stored unchanged in these bytes.
    #[inline]
    pub(super) fn is_plain(stored: &[u8]) -> bool {
        !header::has_magic(stored)
    }

    /// Returns a caller's own bytes.
    pub(super) fn open_bytes(&self, stored: &Bytes) -> Result<Bytes, Undecodable> {
        match header::read(stored)? {
            Stored::Envelope(fields, _) => Err(Undecodable::Foreign(entry_of(fields))),
            Stored::Plain(payload) | Stored::Payload(_, payload) => Ok(stored.slice_ref(payload)),
            Stored::Compressed(method, _, payload) => {
                self.compressor.open(method, payload).map(Bytes::from)
            }
            Stored::Lease(_) => Err(Undecodable::Foreign(LEASE)),
        }
    }

    /// Returns whether values of this codec are read.
    #[inline]
    pub(crate) fn reads(&self, codec: Codec) -> bool {
        codec == self.codec || self.read.as_ref().is_none_or(|it| it.contains(&codec))
    }
}

/// Returns the reason why an entry is not read.
#[cold]
fn entry_of(fields: Fields<'_>) -> &'static str {
    if fields.tags.is_empty() { ENTRY } else { TAGGED }
}

fn is_integer(json: &[u8]) -> bool {
    json.iter().all(|it| it.is_ascii_digit() || *it == b'-')
}

/// Returns the reason why a value of another codec is not read.
#[cold]
fn unread(format: Format) -> Undecodable {
    Undecodable::Foreign(match format {
        Format::Raw => "the stored bytes are JSON, which the setting `read` does not list",
        Format::MsgPack if cfg!(feature = "msgpack") => {
            "the stored bytes are MessagePack, which the setting `read` does not list"
        }
        Format::MsgPack => {
            "the stored bytes are MessagePack: enable the feature `msgpack` of cache-core"
        }
        Format::Postcard if cfg!(feature = "postcard") => {
            "the stored bytes are postcard, which the setting `read` does not list"
        }
        Format::Postcard => {
            "the stored bytes are postcard: enable the feature `postcard` of cache-core"
        }
    })
}

/// Returns bytes behind a header, because they begin like one.
#[cold]
fn behind_header(bytes: &[u8]) -> Bytes {
    let mut stored = Vec::with_capacity(header::LEN + bytes.len());
    stored.resize(header::LEN, 0);
    stored.extend_from_slice(bytes);
    header::fill(&mut stored, Format::Raw, None);
    stored.into()
}

/// Returns how many bytes the caller's value has that is stored in these bytes: all except the
/// header that the cache puts before values that need one. A compressed value counts with its
/// length before the compression.
///
/// A store compares this number with its limit, so that the limit is the same for each value and
/// codec, with compression and without. The header has 20 bytes; a later release may write a longer
/// one.
///
/// ```
/// assert_eq!(cache_core::store::payload_len(b"{}"), 2);
/// // A header, and the three bytes `abc`.
/// let stored = [&b"\xc1\xca\x14\0\0\0\0\0\x03\0\0\0\0\0\0\0CRC!"[..], b"abc"].concat();
/// assert_eq!(cache_core::store::payload_len(&stored), 3);
/// ```
pub fn payload_len(stored: &[u8]) -> usize {
    header::payload_len(stored)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::value::{Compression, header::tests::foreign};

    const CODECS: &[Codec] = &[
        Codec::Json,
        #[cfg(feature = "msgpack")]
        Codec::MsgPack,
        #[cfg(feature = "postcard")]
        Codec::Postcard,
    ];

    fn pipeline(codec: Codec, read: Option<&[Codec]>) -> Pipeline {
        Pipeline::new(codec, read, Compressor::new(Compression::None, 0, None))
    }

    fn seal<T: Serialize>(value: &T, codec: Codec) -> Result<Bytes> {
        pipeline(codec, None).seal(value, None)
    }

    fn open<T: DeserializeOwned>(stored: &Bytes) -> Result<T, Undecodable> {
        pipeline(Codec::Json, None).open(stored)
    }

    fn open_bytes(stored: &Bytes) -> Result<Bytes, Undecodable> {
        pipeline(Codec::Json, None).open_bytes(stored)
    }

    type Value = (Vec<i64>, Option<String>, bool);

    fn value() -> impl Strategy<Value = Value> {
        (vec(any::<i64>(), 0..20), proptest::option::of(any::<String>()), any::<bool>())
    }

    /// Bytes of all kinds, many of which begin like a header.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..60),
            vec(any::<u8>(), 0..60).prop_map(|it| [&[0xc1, 0xca], &it[..]].concat()),
            (0..4_u16, 0..5_u16, vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9))
                .prop_map(|(flags, format, fields, it)| foreign(flags, format, &fields, &it)),
        ]
    }

    proptest! {
        #[test]
        fn sealed_value_opens_equal(value in value()) {
            for codec in CODECS {
                let stored = seal(&value, *codec).unwrap();
                prop_assert_eq!(open::<Value>(&stored), Ok(value.clone()));
                let has_header = header::has_magic(&stored);
                prop_assert_eq!(has_header, *codec != Codec::Json);
                let header = if has_header { header::LEN } else { 0 };
                prop_assert_eq!(payload_len(&stored), stored.len() - header);
            }
        }

        #[test]
        fn integer_is_plain_text(integer: i64) {
            for codec in CODECS {
                let stored = seal(&integer, *codec).unwrap();
                prop_assert_eq!(&stored, &integer.to_string());
                prop_assert_eq!(open::<i64>(&stored), Ok(integer));
            }
        }

        #[test]
        fn sealed_bytes_open_unchanged(bytes in bytes()) {
            let bytes = Bytes::from(bytes);
            let stored = pipeline(Codec::Json, None).seal_bytes(&bytes);
            prop_assert_eq!(stored.is_some(), bytes.starts_with(&[0xc1, 0xca]));
            let stored = stored.unwrap_or_else(|| bytes.clone());
            prop_assert_eq!(payload_len(&stored), bytes.len());
            prop_assert_eq!(open_bytes(&stored), Ok(bytes));
        }

        #[test]
        fn any_stored_bytes_open_or_say_why(bytes in bytes()) {
            let stored = Bytes::from(bytes);
            match (header::read(&stored), open_bytes(&stored)) {
                (Ok(Stored::Compressed(..)), _) => {}
                (Ok(Stored::Plain(it) | Stored::Payload(_, it)), Ok(bytes)) => {
                    prop_assert_eq!(it, bytes);
                }
                (Err(why), Err(undecodable)) => {
                    prop_assert_eq!(Undecodable::from(why), undecodable);
                    prop_assert_eq!(open::<Value>(&stored), Err(undecodable));
                }
                (Ok(Stored::Envelope(..)), Err(why)) => {
                    prop_assert!(matches!(why, Undecodable::Foreign(ENTRY | TAGGED)));
                }
                (read, opened) => prop_assert!(false, "{:?}, {:?}", read, opened),
            }
        }
    }

    #[test]
    fn json_behind_a_header_opens() {
        let stored = Bytes::from(foreign(0, 0, b"fields", b"[1,2]"));
        assert_eq!(open::<Vec<u8>>(&stored), Ok(vec![1, 2]));
    }

    #[cfg(all(feature = "msgpack", feature = "postcard"))]
    #[test]
    fn only_listed_codecs_are_read_and_integers_always() {
        for writer in CODECS {
            let text = seal(&"text", *writer).unwrap();
            let number = seal(&-7, *writer).unwrap();
            for own in CODECS {
                for listed in CODECS {
                    let reader = pipeline(*own, Some(&[*listed]));
                    let reads = writer == own || writer == listed;
                    let read = reader.open::<String>(&text);
                    if reads {
                        assert_eq!(read.as_deref(), Ok("text"), "{writer:?}: {reader:?}");
                    } else {
                        assert!(matches!(read, Err(Undecodable::Foreign(_))), "{read:?}");
                        assert!(read.unwrap_err().to_string().contains("`read`"));
                    }
                    assert_eq!(reader.open::<i64>(&number), Ok(-7));
                }
            }
        }
    }

    #[cfg(not(feature = "msgpack"))]
    #[test]
    fn messagepack_without_the_feature_is_foreign() {
        let stored = Bytes::from(foreign(0, 1, b"", b"\x01"));
        assert!(matches!(open::<u8>(&stored), Err(Undecodable::Foreign(_))));
        assert_eq!(open_bytes(&stored).as_deref(), Ok(&b"\x01"[..]));
    }
}
