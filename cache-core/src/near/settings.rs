use std::time::Duration;

use serde::Deserialize;

use crate::{
    config::{ByteSize, Period},
    store::NearInvalidation,
};

/// The settings of the near tier: the table `[caches.<alias>.near]`. It keeps copies of entries in
/// the memory of the process, in front of the store of the alias.
///
/// The tier is a store of the crate `cache-memory`, which the program must link.
///
/// ```
/// let settings: cache_core::Settings = toml::from_str(r#"
///     [default]
///     backend = "redis"
///     location = "redis://127.0.0.1"
///     [default.near]
///     timeout = "10s"
/// "#).unwrap();
/// let near = settings.get("default").unwrap().near.unwrap();
/// assert_eq!(near.timeout, cache_core::config::Period::from_secs(10));
/// assert_eq!(near.invalidation, cache_core::NearInvalidation::Auto);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NearSettings {
    /// The maximum number of entries. A million if unset.
    pub max_entries: u64,
    /// The maximum size in bytes, with keys, values and bookkeeping. 64 MiB if unset. The decoded
    /// values of [`get_arc`](crate::Cache::get_arc) are not counted.
    pub max_bytes: ByteSize,
    /// The longest time for which an entry is near: how old a value may be that another process has
    /// replaced or deleted, if the process is not told. 30 s if unset; from 100 ms to 1 hour.
    pub timeout: Period,
    /// How the writes of other processes are reported to this one. `auto` if unset.
    pub invalidation: NearInvalidation,
}

impl NearSettings {
    /// Returns the name of a setting that is out of range, and what is allowed.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.max_entries == 0 {
            return Err((
                "max_entries",
                "must be at least 1; without a near tier, remove the table",
            ));
        }
        if self.max_bytes.bytes() < MIN_BYTES {
            return Err(("max_bytes", "expected at least 64KiB"));
        }
        if !TIMEOUTS.contains(&Duration::from(self.timeout)) {
            let what = "expected 100ms to 1h: for this time, values may be served that another \
                        process has replaced or deleted";
            return Err(("timeout", what));
        }
        Ok(())
    }
}

const MIN_BYTES: u64 = 64 << 10;
/// A shorter time would be little more than a tick of the coarse clock, by which entries expire.
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60 * 60);

impl Default for NearSettings {
    fn default() -> Self {
        Self {
            max_entries: 1_000_000,
            max_bytes: ByteSize::new(64 << 20),
            timeout: Period::from_secs(30),
            invalidation: NearInvalidation::default(),
        }
    }
}
