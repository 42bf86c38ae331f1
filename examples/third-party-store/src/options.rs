//! The options of the store.

use cache_core::config::ByteSize;
use serde::Deserialize;

// ANCHOR: options
/// The table `options` of an alias. An unknown name is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The largest number of entries in the file.
    pub max_entries: u64,
    /// The size of the largest value.
    pub max_value_bytes: ByteSize,
    /// Whether a write is on the disk when its call returns.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_entries: 100_000, max_value_bytes: ByteSize::new(16 << 20), durable: true }
    }
}
// ANCHOR_END: options
