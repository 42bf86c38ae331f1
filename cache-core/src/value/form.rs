//! The form of the values of a handle: any types of serde ([`Typed`]), or [`Bytes`].
//!
//! Each operation of a [`Cache`](crate::Cache) exists once, for both forms. A program names the
//! form where it stores a handle of [`Cache::bytes`](crate::Cache::bytes):
//!
//! ```
//! use bytes::Bytes;
//! use cache_core::Cache;
//! use cache_memory::Memory;
//!
//! struct Images {
//!     cache: Cache<Bytes>,
//! }
//! let images = Images { cache: Cache::new("test", Memory::new()).bytes() };
//! # drop(images.cache);
//! ```

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{codec::Codec, pipeline::Pipeline, undecodable::Undecodable};
use crate::error::Result;

/// The form of the values of a handle: [`Typed`] or [`Bytes`].
pub trait Form: sealed::Sealed + Clone + Send + Sync + 'static {}

/// Values are of any types that serde can serialize and deserialize. The
/// [`Codec`] of the alias writes them.
#[derive(Clone, Copy, Debug)]
pub enum Typed {}

impl Form for Typed {}

/// Values are bytes, without a codec: see [`Cache::bytes`](crate::Cache::bytes).
impl Form for Bytes {}

/// The form of handles that can write a `T`: any `Serialize`, or bytes.
#[diagnostic::on_unimplemented(
    message = "a handle of this form cannot write `{T}`",
    note = "`cache.bytes()` writes `Bytes`, `Vec<u8>`, `[u8]`, `String` and `str`; other handles write types that implement `serde::Serialize`"
)]
pub trait Encode<T: ?Sized>: Form {
    /// Returns the bytes that the store keeps. `codec` replaces the codec of the alias.
    #[doc(hidden)]
    fn seal(value: &T, values: &Pipeline, codec: Option<Codec>) -> Result<Bytes>;
}

/// The form of handles that can read a `T`: any `DeserializeOwned`, or `Bytes`.
#[diagnostic::on_unimplemented(
    message = "a handle of this form cannot read `{T}`",
    note = "`cache.bytes()` reads `bytes::Bytes`; other handles read types that implement `serde::de::DeserializeOwned`"
)]
pub trait Decode<T>: Form {
    /// Reads the bytes that the store keeps.
    #[doc(hidden)]
    fn open(stored: &Bytes, values: &Pipeline) -> Result<T, Undecodable>;

    /// Reads bytes that the caller does not need any more. The error returns them.
    #[doc(hidden)]
    #[inline]
    fn take(stored: Bytes, values: &Pipeline) -> Result<T, Bytes> {
        Self::open(&stored, values).map_err(|_| stored)
    }
}

impl<T: Serialize + ?Sized> Encode<T> for Typed {
    #[inline]
    fn seal(value: &T, values: &Pipeline, codec: Option<Codec>) -> Result<Bytes> {
        values.seal(value, codec)
    }
}

impl<T: DeserializeOwned> Decode<T> for Typed {
    #[inline]
    fn open(stored: &Bytes, values: &Pipeline) -> Result<T, Undecodable> {
        values.open(stored)
    }
}

impl Encode<Bytes> for Bytes {
    #[inline]
    fn seal(value: &Bytes, values: &Pipeline, _: Option<Codec>) -> Result<Bytes> {
        Ok(values.seal_bytes(value).unwrap_or_else(|| value.clone()))
    }
}

impl Decode<Bytes> for Bytes {
    #[inline]
    fn open(stored: &Bytes, values: &Pipeline) -> Result<Bytes, Undecodable> {
        values.open_bytes(stored)
    }

    /// Bytes without a header need no change of their reference count.
    #[inline]
    fn take(stored: Bytes, values: &Pipeline) -> Result<Bytes, Bytes> {
        if Pipeline::is_plain(&stored) {
            return Ok(stored);
        }
        values.open_bytes(&stored).map_err(|_| stored)
    }
}

/// Values that are copied once: into the bytes that the store keeps.
macro_rules! copied {
    ($($type:ty),*) => {
        $(impl Encode<$type> for Bytes {
            fn seal(value: &$type, values: &Pipeline, _: Option<Codec>) -> Result<Bytes> {
                let bytes: &[u8] = value.as_ref();
                Ok(values.seal_bytes(bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes)))
            }
        })*
    };
}

copied!([u8], Vec<u8>, str, String);

impl<const N: usize> Encode<[u8; N]> for Bytes {
    fn seal(value: &[u8; N], values: &Pipeline, codec: Option<Codec>) -> Result<Bytes> {
        Self::seal(&value[..], values, codec)
    }
}

impl<T: ?Sized> Encode<&T> for Bytes
where
    Self: Encode<T>,
{
    fn seal(value: &&T, values: &Pipeline, codec: Option<Codec>) -> Result<Bytes> {
        <Self as Encode<T>>::seal(value, values, codec)
    }
}

mod sealed {
    /// Only this crate has forms.
    pub trait Sealed {
        const HAS_CODEC: bool;
    }

    impl Sealed for super::Typed {
        const HAS_CODEC: bool = true;
    }
    impl Sealed for bytes::Bytes {
        const HAS_CODEC: bool = false;
    }
}
