//! Values to bytes and back.

mod checked;
mod codec;
mod header;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
mod undecodable;

pub use self::codec::{Codec, payload_len};
pub(crate) use self::{
    codec::{decode, unwrap_raw, wrap_raw},
    undecodable::Undecodable,
};
