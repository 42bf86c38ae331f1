//! Loads missing values, one load per key at a time.

pub(crate) mod singleflight;
