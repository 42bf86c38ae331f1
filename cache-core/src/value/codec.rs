use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "msgpack")]
use super::msgpack;
use super::{
    header::{self, Content, Stored},
    json,
    undecodable::Undecodable,
};
use crate::error::Result;

/// How values become bytes. In every codec a top-level integer is stored as plain decimal text, so that `incr` works on it,
/// and values that were stored under another codec are still read.
///
/// A value that is written is read back equal, by the type that wrote it. A value that could not be read back is refused, with
/// an error of kind `Codec`:
///
/// - lists, maps, structs and variants with content that are nested deeper than 127 levels;
/// - `Some` of an empty value (`Some(None)`, `Some(())`), which both formats write as null, and read as `None`;
/// - in JSON: NaN and the infinities, and maps whose keys are neither strings nor numbers nor variants without content.
///
/// The codecs cannot see what serde itself cannot read. It reads enums with `tag` or `untagged`, and structs with `flatten`, through a
/// buffer that has no `i128` and no `u128`, and in which JSON's maps have texts as keys only. A type with one of these in it
/// is a miss on every read.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// # use cache_core::{Cache, ErrorKind, Timeout, store::Inline}; use cache_memory::Memory;
/// # let cache = Cache::new("test", Inline::new(Memory::new()));
/// let error = cache.set("rate", &f64::NAN, Timeout::Default).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Codec);
/// assert!(error.to_string().contains("JSON has no NaN"));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// JSON, plain: other languages read it, and the store's own tools show it. Bytes (`Vec<u8>`, `Bytes`) become lists of
    /// numbers, about 3.6 times as long: [`set_bytes`](crate::Cache::set_bytes) stores them as they are.
    ///
    /// `Some(None)` is refused, because it reads back as `None`: also in a field `Option<Option<T>>` with
    /// `skip_serializing_if`, as types of PATCH requests have it. An enum of three variants (absent, null, a value) can be
    /// stored instead.
    #[default]
    Json,
    /// MessagePack with named fields (feature `msgpack`): smaller and faster to read than JSON. Types that have a form of their own
    /// for text formats (addresses, UUIDs) are written in that form. `Bytes` become bytes, `Vec<u8>` a list of numbers.
    #[cfg(feature = "msgpack")]
    MsgPack,
}

impl Codec {
    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes> {
        match self {
            Self::Json => json::encode(value).map(Bytes::from),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::encode(value),
        }
    }
}

/// Stored bytes as a value. What they are is told by the bytes, not by the settings.
pub(crate) fn decode<T: DeserializeOwned>(stored: &Bytes) -> Result<T, Undecodable> {
    match header::open(stored) {
        Ok(Stored::Plain(bytes) | Stored::Wrapped(Content::Raw, bytes)) => {
            json::decode(bytes).map_err(Undecodable::OtherType)
        }
        #[cfg(feature = "msgpack")]
        Ok(Stored::Wrapped(Content::MsgPack, bytes)) => {
            msgpack::decode(bytes).map_err(Undecodable::OtherType)
        }
        #[cfg(not(feature = "msgpack"))]
        Ok(Stored::Wrapped(Content::MsgPack, _)) => Err(Undecodable::Foreign(
            "the stored bytes are MessagePack, which needs cache-core's feature `msgpack`",
        )),
        Err(why) => Err(why.into()),
    }
}

/// Returns how many bytes of a stored value are the caller's: without the header that the facade puts before values that need one.
/// A store compares this with its limit, so that the limit counts the same for every value and codec; a stored value is up to 16 bytes
/// longer.
///
/// ```
/// assert_eq!(cache_core::store::payload_len(b"{}"), 2);
/// // A header of our own, before the three bytes `abc`.
/// let stored = [&b"\xc1\xca\x01\x00\x03\0\0\0\0\0\0\0CRC!"[..], b"abc"].concat();
/// assert_eq!(cache_core::store::payload_len(&stored), 3);
/// ```
pub fn payload_len(stored: &[u8]) -> usize {
    header::payload_len(stored)
}

/// A caller's own bytes as they are stored: as they are, unless they begin like an envelope.
pub(crate) fn wrap_raw(bytes: Bytes) -> Bytes {
    if header::looks_wrapped(&bytes) { header::wrap(Content::Raw, &bytes) } else { bytes }
}

/// The caller's own bytes of stored ones; the stored ones again, and why, if there are none.
#[inline]
pub(crate) fn unwrap_raw(stored: Bytes) -> Result<Bytes, (Undecodable, Bytes)> {
    if !header::looks_wrapped(&stored) {
        return Ok(stored);
    }
    match header::open(&stored) {
        Ok(Stored::Plain(payload) | Stored::Wrapped(_, payload)) => Ok(stored.slice_ref(payload)),
        Err(why) => Err((why.into(), stored)),
    }
}
