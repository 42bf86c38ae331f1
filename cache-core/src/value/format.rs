//! The formats in which values are written, and the checks that they share.

#[cfg(feature = "postcard")]
mod bounded;
mod checked;
mod checks;
pub(super) mod json;
#[cfg(feature = "msgpack")]
pub(super) mod msgpack;
#[cfg(feature = "postcard")]
pub(super) mod postcard;
