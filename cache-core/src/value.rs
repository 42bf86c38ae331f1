//! Turns values into the bytes that a store keeps, and back.

mod codec;
mod compress;
pub(crate) mod envelope;
mod fields;
pub mod form;
mod format;
mod header;
mod pipeline;
pub(crate) mod revision;
mod undecodable;

pub use self::{codec::Codec, compress::Compression, pipeline::payload_len};
pub(crate) use self::{
    compress::{Compressor, DEFAULT_FROM},
    form::{Decode, Encode, Form, Typed},
    pipeline::Pipeline,
    undecodable::Undecodable,
};
