//! The expiry of an entry, in eight bytes.

use std::time::Duration;

/// The expiry of an entry: nanoseconds of the clock in steps of 64, or never.
///
/// The six low bits, which the steps leave free, hold how late the sweeper may find the entry, as a
/// power of two of nanoseconds. So the deadline alone tells in which bucket of the expiry index the
/// entry's record is, and the entry needs no additional field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

/// 2²⁰ ns, a millisecond: the smallest span of a bucket.
const FINEST: u32 = 20;
/// A bucket spans at most 2⁻⁵, 3 %, of its entries' lifetimes, so at most this fraction of the
/// entries has expired without being due.
const FRACTION: u32 = 5;
const STEP: u64 = 64;

impl Deadline {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// Returns `now + lifetime`, rounded up; `NEVER` beyond the clock's range of 584 years.
    pub(crate) fn after(now: u64, lifetime: Duration) -> Self {
        let lifetime = nanos(lifetime);
        let Some(at) = now.checked_add(lifetime).and_then(|it| it.checked_next_multiple_of(STEP))
        else {
            return Self::NEVER;
        };
        let lateness = lifetime.max(1).ilog2().saturating_sub(FRACTION).max(FINEST);
        Self(at | u64::from(lateness))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns whether it has passed at `now`. `NEVER` does not read the clock.
    pub(crate) fn has_passed(self, now: impl FnOnce() -> u64) -> bool {
        self != Self::NEVER && self.at() <= now()
    }

    /// Returns the remaining lifetime at `now`, at least a nanosecond because the entry is still
    /// served; `None` for `NEVER`.
    pub(crate) fn remaining(self, now: impl FnOnce() -> u64) -> Option<Duration> {
        let left = |now| Duration::from_nanos(self.at().saturating_sub(now).max(1));
        (self != Self::NEVER).then(|| left(now()))
    }

    /// Returns when the entry is due for the sweeper: soon after the deadline, at a time that many
    /// deadlines share. It is the key of a bucket.
    pub(crate) fn due(self) -> Option<u64> {
        let span = 1 << (self.0 % STEP);
        (self != Self::NEVER).then(|| self.at().checked_next_multiple_of(span).unwrap_or(u64::MAX))
    }

    const fn at(self) -> u64 {
        self.0 - self.0 % STEP
    }
}

/// Returns the duration as a number, at most 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_passes_never_early_and_at_most_a_step_late() {
        for (now, lifetime) in [(0, 1), (1, 63), (7, 64), (1_000_000_007, 300_000_000_001)] {
            let deadline = Deadline::after(now, Duration::from_nanos(lifetime));
            assert!(!deadline.has_passed(|| now + lifetime - 1), "{now} {lifetime}");
            assert!(deadline.has_passed(|| now + lifetime + STEP - 1), "{now} {lifetime}");
        }
    }

    #[test]
    fn deadline_in_whole_milliseconds_is_exact() {
        let deadline = Deadline::after(3_000_000, Duration::from_millis(4));
        assert_eq!(deadline.remaining(|| 3_000_000), Some(Duration::from_millis(4)));
    }

    #[test]
    fn deadline_is_due_within_a_thirty_second_of_the_lifetime() {
        for lifetime in [50_000_000, 1_000_000_000, 300_000_000_000, 86_400_000_000_000_u64] {
            let deadline = Deadline::after(12_345, Duration::from_nanos(lifetime));
            let due = deadline.due().unwrap();
            assert!(deadline.has_passed(|| due), "{lifetime}");
            assert!(due - (12_345 + lifetime) <= lifetime / 32 + STEP, "{lifetime}");
        }
    }

    #[test]
    fn deadline_beyond_the_range_of_the_clock_never_passes() {
        assert_eq!(Deadline::after(1, Duration::from_nanos(u64::MAX)), Deadline::NEVER);
        assert_eq!(Deadline::after(0, Duration::MAX), Deadline::NEVER);
        assert!(!Deadline::NEVER.has_passed(|| u64::MAX));
        assert_eq!((Deadline::NEVER.due(), Deadline::NEVER.remaining(|| 0)), (None, None));
    }
}
