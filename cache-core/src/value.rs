//! Turns values into the bytes that a store keeps, and back.

mod codec;
pub(crate) mod envelope;
mod format;
mod header;
mod pipeline;
mod undecodable;

pub use self::{codec::Codec, pipeline::payload_len};
pub(crate) use self::{
    pipeline::{Pipeline, open_bytes, seal_bytes},
    undecodable::Undecodable,
};
