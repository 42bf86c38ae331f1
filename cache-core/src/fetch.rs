//! Reading through: one load per key at a time.

pub(crate) mod singleflight;
