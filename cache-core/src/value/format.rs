//! The formats in which values are written, and the checks that they share.

mod checked;
pub(super) mod json;
#[cfg(feature = "msgpack")]
pub(super) mod msgpack;
