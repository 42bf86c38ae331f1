//! The bounds of a store, and the sizes that follow from them.

use cache_core::{Error, MAX_KEY_LEN, Result, store::payload_len};

use crate::entry::{self, OVERHEAD};

/// The bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_entries: u64,
    pub(crate) max_bytes: u64,
    /// The maximum size of a value; larger values are refused with `TooLarge`.
    pub(crate) max_value: u64,
    /// A power of two. Each shard has an equal part of the capacity, and its own lock.
    pub(crate) shards: u64,
}

/// The bounds that the user set.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the settings use these names")]
pub(crate) struct RequestedLimits {
    pub(crate) max_entries: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_value_bytes: Option<u64>,
}

/// An invalid bound: its name, and the end of a sentence that says what is wrong.
#[derive(Debug)]
pub(crate) struct InvalidLimit(pub(crate) &'static str, pub(crate) String);

const MIB: u64 = 1024 * 1024;

/// Memory is what a process runs out of. So by default, bytes bound a store of values of usual
/// size, and entries only bound a store of tiny values, whose bookkeeping is larger than the
/// values.
const MAX_ENTRIES: u64 = 1_000_000;
const MAX_BYTES: u64 = 256 * MIB;
/// More locks than this do not increase throughput on any number of cores.
const MAX_SHARDS: u64 = 64;
/// A smaller store has one shard, which holds exactly as many entries as it should.
const MIN_SHARDED_ENTRIES: u64 = 1024;
/// With fewer entries per shard, random distribution fills some shards long before others. A store
/// of `n` entries per shard that is filled with just as many keys as it should hold keeps all but
/// `0.4 / sqrt(n)` of them, here 3.5 %. Threads that share a shard cost more: with two threads,
/// one shard instead of eight made reads take 2.4 times as long, and writes twice.
const MIN_SHARD_ENTRIES: u64 = 128;

impl Limits {
    /// The bounds if the user sets none.
    pub(crate) const DEFAULT: Self = Self {
        max_entries: MAX_ENTRIES,
        max_bytes: MAX_BYTES,
        max_value: MAX_BYTES / 64,
        shards: shards(MAX_ENTRIES, MAX_BYTES, MAX_BYTES / 64),
    };

    /// Returns the first setting in which the two differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let settings = [
            ("options.max_entries", self.max_entries == other.max_entries),
            ("options.max_bytes", self.max_bytes == other.max_bytes),
            ("options.max_value_bytes", self.max_value == other.max_value),
        ];
        settings.iter().find(|(_, is_same)| !is_same).map(|(name, _)| *name)
    }

    pub(crate) fn new(requested: RequestedLimits) -> std::result::Result<Self, InvalidLimit> {
        let max_entries = requested.max_entries.unwrap_or(MAX_ENTRIES);
        let max_bytes = requested.max_bytes.unwrap_or(MAX_BYTES);
        if max_entries == 0 {
            let what = "must be at least 1; `backend = \"dummy\"` stores nothing";
            return Err(InvalidLimit("max_entries", what.into()));
        }
        // Sums of weights, and twice a weight, must fit into 64 bits.
        let max_bytes = max_bytes.min(u64::MAX / 4);
        let Some(largest) = admits(max_bytes).checked_sub(RESERVE).filter(|it| *it > 0) else {
            let what = format!(
                "is {max_bytes} bytes, which is too small for one entry; the minimum is about 1KiB"
            );
            return Err(InvalidLimit("max_bytes", what));
        };
        let max_value = match requested.max_value_bytes {
            None => (max_bytes / 64).max(MIB).min(largest),
            Some(0) => return Err(InvalidLimit("max_value_bytes", "must be at least 1".into())),
            Some(it) if it > largest => {
                let what = format!(
                    "is {it} bytes; with max_bytes = {max_bytes}, the maximum is {largest}"
                );
                return Err(InvalidLimit("max_value_bytes", what));
            }
            Some(it) => it,
        };
        let shards = shards(max_entries, max_bytes, max_value);
        Ok(Self { max_entries, max_bytes, max_value, shards })
    }

    /// Returns `TooLarge` for an entry that does not fit. The engine would drop it silently.
    pub(crate) fn check_size(&self, key: &str, value: &[u8]) -> Result<()> {
        let len = payload_len(value);
        // The second condition can only be false for keys that are longer than the facade allows.
        if len as u64 <= self.max_value && entry::cost(key, value) <= self.max_weight() {
            return Ok(());
        }
        Err(Error::too_large(len, self.max_value, "options.max_value_bytes"))
    }

    /// The capacity of one shard.
    pub(crate) fn shard_bytes(&self) -> u64 {
        self.max_bytes / self.shards
    }

    /// The maximum weight of an entry in a shard.
    pub(crate) fn max_weight(&self) -> u64 {
        admits(self.shard_bytes())
    }

    /// The minimum weight of an entry. It is chosen so that the weights of `max_entries + shards`
    /// entries never fit; then one sum enforces both bounds. Half an entry is added so that the
    /// engine can admit the last one.
    pub(crate) fn share(&self) -> u64 {
        let shard_entries = self.max_entries / self.shards;
        (2 * self.shard_bytes()).div_ceil(shard_entries.saturating_mul(2).saturating_add(1))
    }

    /// The estimated number of entries. The engine remembers half as many evicted keys, in memory
    /// that has no weight; so the estimate keeps it at a few percent of the capacity.
    pub(crate) fn expected_entries(&self) -> usize {
        let expected = self.max_entries.min(self.max_bytes / 1024);
        usize::try_from(expected).unwrap_or(usize::MAX).max(32 * self.shard_count())
    }

    pub(crate) fn shard_count(&self) -> usize {
        usize::try_from(self.shards).unwrap_or(1)
    }
}

/// The maximum weight of an entry in addition to the caller's value. The facade may add a header of
/// 20 bytes.
const RESERVE: u64 = OVERHEAD + MAX_KEY_LEN as u64 + 20;

/// The maximum weight of an entry in a shard of this capacity. It is less than the capacity,
/// because the engine reserves the last 3 % for new entries.
const fn admits(bytes: u64) -> u64 {
    bytes - bytes / 16
}

/// The maximum number of shards that have room for the largest value and for enough entries each.
/// It does not depend on the machine, so a value that fits on one machine fits on all.
const fn shards(max_entries: u64, max_bytes: u64, max_value: u64) -> u64 {
    let by_value = admits(max_bytes) / (RESERVE + max_value);
    let is_sharded = max_entries >= MIN_SHARDED_ENTRIES;
    let by_entries = if is_sharded { max_entries / MIN_SHARD_ENTRIES } else { 1 };
    let mut res = 1;
    while res < MAX_SHARDS && 2 * res <= by_value && 2 * res <= by_entries {
        res *= 2;
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_entries: u64, max_bytes: u64) -> Limits {
        Limits::new(RequestedLimits {
            max_entries: Some(max_entries),
            max_bytes: Some(max_bytes),
            max_value_bytes: None,
        })
        .unwrap()
    }

    #[test]
    fn limits_without_settings_are_the_default() {
        assert_eq!(Limits::new(RequestedLimits::default()).unwrap(), Limits::DEFAULT);
        assert_eq!(Limits::DEFAULT.shards, 32);
    }

    #[test]
    fn weights_enforce_both_bounds_for_every_size() {
        for max_entries in [1, 2, 3, 10, 1000, 1024, 2047, 5000, 100_000, 1_000_000, u64::MAX] {
            for max_bytes in [1024, 4096, 100_000, MIB, 64 * MIB, 256 * MIB, u64::MAX] {
                let limits = limits(max_entries, max_bytes);
                let (room, share) = (limits.shard_bytes(), limits.share());
                assert!(room * limits.shards <= max_bytes, "{limits:?}");
                assert!((room / share) * limits.shards <= max_entries, "{limits:?}");
                assert!(
                    share <= limits.max_weight(),
                    "the smallest entry does not fit: {limits:?}"
                );
                assert!(limits.max_value + RESERVE <= limits.max_weight(), "{limits:?}");
            }
        }
    }

    #[test]
    fn store_is_divided_if_each_shard_has_enough_entries_and_room_for_the_largest_value() {
        let shards = |max_entries, max_bytes| limits(max_entries, max_bytes).shards;
        assert_eq!((shards(1023, 256 * MIB), shards(1024, 256 * MIB)), (1, 8));
        assert_eq!((shards(2000, 256 * MIB), shards(5000, 256 * MIB)), (8, 32));
        assert_eq!((shards(2000, MIB), shards(2000, 4 * MIB)), (1, 2));
    }

    #[test]
    fn invalid_bound_is_named() {
        let name = |requested| Limits::new(requested).unwrap_err().0;
        assert_eq!(
            name(RequestedLimits { max_entries: Some(0), ..RequestedLimits::default() }),
            "max_entries"
        );
        assert_eq!(
            name(RequestedLimits { max_bytes: Some(0), ..RequestedLimits::default() }),
            "max_bytes"
        );
        assert_eq!(
            name(RequestedLimits { max_bytes: Some(300), ..RequestedLimits::default() }),
            "max_bytes"
        );
        assert_eq!(
            name(RequestedLimits { max_value_bytes: Some(0), ..RequestedLimits::default() }),
            "max_value_bytes"
        );
        assert_eq!(
            name(RequestedLimits {
                max_value_bytes: Some(256 * MIB),
                ..RequestedLimits::default()
            }),
            "max_value_bytes"
        );
    }
}
