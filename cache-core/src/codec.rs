//! Values to bytes and back.

mod envelope;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use self::envelope::{Content, Corrupt, Stored};
use crate::{Error, ErrorKind, Result};

/// How values become bytes. Whatever it is, a top-level integer is stored as plain decimal text, so that `incr` works on it,
/// and values that were stored under another codec are still read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// JSON, plain: other languages read it, and the store's own tools show it.
    #[default]
    Json,
    /// MessagePack with named fields (feature `msgpack`): smaller and faster to read than JSON.
    #[cfg(feature = "msgpack")]
    MsgPack,
}

/// Why stored bytes gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// The bytes are whole, but not a value of the type that was asked for.
    OtherType,
    /// They were written by us, and are damaged: nobody can read them.
    Damaged,
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
    match envelope::open(stored) {
        Ok(Stored::Plain(bytes) | Stored::Wrapped(Content::Raw, bytes)) => json::decode(bytes),
        #[cfg(feature = "msgpack")]
        Ok(Stored::Wrapped(Content::MsgPack, bytes)) => msgpack::decode(bytes),
        #[cfg(not(feature = "msgpack"))]
        Ok(Stored::Wrapped(Content::MsgPack, _)) => Err(Undecodable::OtherType),
        Err(why) => Err(why.into()),
    }
}

/// A caller's own bytes as they are stored: as they are, unless they begin like an envelope.
pub(crate) fn wrap_raw(bytes: Bytes) -> Bytes {
    if envelope::looks_wrapped(&bytes) { envelope::wrap(Content::Raw, &bytes) } else { bytes }
}

/// The caller's own bytes of stored ones; the stored ones again, and why, if there are none.
#[inline]
pub(crate) fn unwrap_raw(stored: Bytes) -> Result<Bytes, (Undecodable, Bytes)> {
    if !envelope::looks_wrapped(&stored) {
        return Ok(stored);
    }
    match envelope::open(&stored) {
        Ok(Stored::Plain(payload) | Stored::Wrapped(_, payload)) => Ok(stored.slice_ref(payload)),
        Err(why) => Err((why.into(), stored)),
    }
}

impl From<Corrupt> for Undecodable {
    fn from(it: Corrupt) -> Self {
        match it {
            Corrupt::Newer => Self::OtherType,
            Corrupt::Damaged => Self::Damaged,
        }
    }
}

/// An encoding error says where, and nothing of the value.
fn cannot_encode(what: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("the value cannot be written as {what}"))
}
