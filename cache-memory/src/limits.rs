//! How much a store holds: the bounds that a user gives, and what follows from them.

use cache_core::MAX_KEY_LEN;

use crate::entry::OVERHEAD;

/// The bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_entries: u64,
    pub(crate) max_bytes: u64,
    /// The largest value; what is larger is `TooLarge`.
    pub(crate) max_value: u64,
    /// A power of two. Each shard holds its part of the room, and has its own lock.
    pub(crate) shards: u64,
}

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "as the settings name them")]
pub(crate) struct RequestedLimits {
    pub(crate) max_entries: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_value_bytes: Option<u64>,
}

/// A bound that makes no sense: its name, and what is wrong.
#[derive(Debug)]
pub(crate) struct InvalidLimit(pub(crate) &'static str, pub(crate) String);

const MIB: u64 = 1024 * 1024;

/// Bytes are what a process runs out of, so by default they bound a store of usual values; entries only bound one of
/// tiny values, whose bookkeeping would outweigh them.
const MAX_ENTRIES: u64 = 1_000_000;
const MAX_BYTES: u64 = 256 * MIB;
/// More locks than this are of no use to any number of cores.
const MAX_SHARDS: u64 = 64;
/// With fewer entries per shard, chance fills some shards long before others.
const MIN_SHARD_ENTRIES: u64 = 1024;

impl Limits {
    /// The bounds of a store of which nothing is requested.
    pub(crate) const DEFAULT: Self = Self {
        max_entries: MAX_ENTRIES,
        max_bytes: MAX_BYTES,
        max_value: MAX_BYTES / 64,
        shards: shards(MAX_ENTRIES, MAX_BYTES, MAX_BYTES / 64),
    };

    /// The first setting in which two differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let settings = [
            ("options.max_entries", self.max_entries == other.max_entries),
            ("options.max_bytes", self.max_bytes == other.max_bytes),
            ("options.max_value_bytes", self.max_value == other.max_value),
        ];
        settings.iter().find(|(_, is_same)| !is_same).map(|(name, _)| *name)
    }

    pub(crate) fn new(requested: RequestedLimits) -> Result<Self, InvalidLimit> {
        let max_entries = requested.max_entries.unwrap_or(MAX_ENTRIES);
        let max_bytes = requested.max_bytes.unwrap_or(MAX_BYTES);
        if max_entries == 0 {
            let what = "must be at least 1; `backend = \"dummy\"` stores nothing";
            return Err(InvalidLimit("max_entries", what.into()));
        }
        // Weights are summed up in 64 bits, and multiplied by two on the way.
        let max_bytes = max_bytes.min(u64::MAX / 4);
        let Some(largest) = admits(max_bytes).checked_sub(RESERVE).filter(|it| *it > 0) else {
            let what = format!(
                "is {max_bytes} bytes, which is too little for one entry; ask for 1KiB or more"
            );
            return Err(InvalidLimit("max_bytes", what));
        };
        let max_value = match requested.max_value_bytes {
            None => (max_bytes / 64).max(MIB).min(largest),
            Some(0) => return Err(InvalidLimit("max_value_bytes", "must be at least 1".into())),
            Some(it) if it > largest => {
                let what = format!(
                    "is {it} bytes; with max_bytes = {max_bytes} it can be {largest} at most"
                );
                return Err(InvalidLimit("max_value_bytes", what));
            }
            Some(it) => it,
        };
        let shards = shards(max_entries, max_bytes, max_value);
        Ok(Self { max_entries, max_bytes, max_value, shards })
    }

    /// The room of one shard.
    pub(crate) fn shard_bytes(&self) -> u64 {
        self.max_bytes / self.shards
    }

    /// The heaviest entry that a shard takes.
    pub(crate) fn max_weight(&self) -> u64 {
        admits(self.shard_bytes())
    }

    /// The least that an entry weighs, so that the weights of `max_entries + shards` of them never fit: then one sum
    /// keeps both bounds. The half entry more leaves room for the admission of the last one.
    pub(crate) fn share(&self) -> u64 {
        let shard_entries = self.max_entries / self.shards;
        (2 * self.shard_bytes()).div_ceil(shard_entries.saturating_mul(2).saturating_add(1))
    }

    /// How many entries there may be, for what is remembered of evicted keys: half as many. That memory is not weighed, so
    /// it is held to some percent of the room.
    pub(crate) fn expected_entries(&self) -> usize {
        let expected = self.max_entries.min(self.max_bytes / 1024);
        usize::try_from(expected).unwrap_or(usize::MAX).max(32 * self.shard_count())
    }

    pub(crate) fn shard_count(&self) -> usize {
        usize::try_from(self.shards).unwrap_or(1)
    }
}

/// What an entry weighs beside the caller's value, at most: the facade may put a header of 16 bytes before it.
const RESERVE: u64 = OVERHEAD + MAX_KEY_LEN as u64 + 16;

/// The heaviest entry that room of this size takes. Less than all: new entries are on probation in the last 3 %.
const fn admits(bytes: u64) -> u64 {
    bytes - bytes / 16
}

/// As many as leave each shard room for the largest value and for enough entries. They do not depend on the machine, so
/// what fits on one fits on all.
const fn shards(max_entries: u64, max_bytes: u64, max_value: u64) -> u64 {
    let by_value = admits(max_bytes) / (RESERVE + max_value);
    let by_entries = max_entries / MIN_SHARD_ENTRIES;
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
    fn the_default_is_what_is_built_of_nothing() {
        assert_eq!(Limits::new(RequestedLimits::default()).unwrap(), Limits::DEFAULT);
        assert_eq!(Limits::DEFAULT.shards, 32);
    }

    #[test]
    fn one_sum_keeps_both_bounds_for_every_size() {
        for max_entries in [1, 2, 3, 10, 1000, 1024, 2047, 5000, 100_000, 1_000_000, u64::MAX] {
            for max_bytes in [1024, 4096, 100_000, MIB, 64 * MIB, 256 * MIB, u64::MAX] {
                let limits = limits(max_entries, max_bytes);
                let (room, share) = (limits.shard_bytes(), limits.share());
                assert!(room * limits.shards <= max_bytes, "{limits:?}");
                assert!((room / share) * limits.shards <= max_entries, "{limits:?}");
                assert!(share <= limits.max_weight(), "even the smallest is taken: {limits:?}");
                assert!(limits.max_value + RESERVE <= limits.max_weight(), "{limits:?}");
            }
        }
    }

    #[test]
    fn bounds_that_make_no_sense_are_named() {
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
