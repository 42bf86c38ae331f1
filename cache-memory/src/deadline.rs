//! When an entry expires, in eight bytes.

use std::time::Duration;

/// When an entry expires: nanoseconds of the clock, in steps of 64, or never.
///
/// The six bits that the steps leave free hold how late the sweeper may find the entry, as a power of two of
/// nanoseconds. So whoever removes an entry knows where it is filed, and the entry is no larger for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

/// 2²⁰ ns, a millisecond: finer than this is not worth a bucket.
const FINEST: u32 = 20;
/// A bucket spans at most 2⁻⁵, 3 %, of its entries' lifetimes, so no more than that of them has expired unnoticed.
const FRACTION: u32 = 5;
const STEP: u64 = 64;

impl Deadline {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// `life` after `now`, rounded up; what is beyond the clock's range (584 years) is never.
    pub(crate) fn after(now: u64, life: Duration) -> Self {
        let life = nanos(life);
        let Some(at) = now.checked_add(life).and_then(|it| it.checked_next_multiple_of(STEP))
        else {
            return Self::NEVER;
        };
        let lateness = life.max(1).ilog2().saturating_sub(FRACTION).max(FINEST);
        Self(at | u64::from(lateness))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether it has come by `now`, which is only asked for if there is one.
    pub(crate) fn has_passed(self, now: impl FnOnce() -> u64) -> bool {
        self != Self::NEVER && self.at() <= now()
    }

    /// What is left at `now`; `None` is for ever. An entry that is still served has some life left.
    pub(crate) fn remaining(self, now: impl FnOnce() -> u64) -> Option<Duration> {
        let left = |now| Duration::from_nanos(self.at().saturating_sub(now).max(1));
        (self != Self::NEVER).then(|| left(now()))
    }

    /// When the sweeper is to look: soon after the deadline, at a time that many deadlines share.
    pub(crate) fn due(self) -> Option<u64> {
        let span = 1 << (self.0 % STEP);
        (self != Self::NEVER).then(|| self.at().checked_next_multiple_of(span).unwrap_or(u64::MAX))
    }

    const fn at(self) -> u64 {
        self.0 - self.0 % STEP
    }
}

/// As a number; 584 years is for ever.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_comes_early_and_at_most_a_step_late() {
        for (now, life) in [(0, 1), (1, 63), (7, 64), (1_000_000_007, 300_000_000_001)] {
            let deadline = Deadline::after(now, Duration::from_nanos(life));
            assert!(!deadline.has_passed(|| now + life - 1), "{now} {life}");
            assert!(deadline.has_passed(|| now + life + STEP - 1), "{now} {life}");
        }
    }

    #[test]
    fn whole_milliseconds_are_exact() {
        let deadline = Deadline::after(3_000_000, Duration::from_millis(4));
        assert_eq!(deadline.remaining(|| 3_000_000), Some(Duration::from_millis(4)));
    }

    #[test]
    fn it_is_due_within_a_thirty_second_of_the_life() {
        for life in [50_000_000, 1_000_000_000, 300_000_000_000, 86_400_000_000_000_u64] {
            let deadline = Deadline::after(12_345, Duration::from_nanos(life));
            let due = deadline.due().unwrap();
            assert!(deadline.has_passed(|| due), "{life}");
            assert!(due - (12_345 + life) <= life / 32 + STEP, "{life}");
        }
    }

    #[test]
    fn what_no_clock_can_reach_is_never() {
        assert_eq!(Deadline::after(1, Duration::from_nanos(u64::MAX)), Deadline::NEVER);
        assert_eq!(Deadline::after(0, Duration::MAX), Deadline::NEVER);
        assert!(!Deadline::NEVER.has_passed(|| u64::MAX));
        assert_eq!((Deadline::NEVER.due(), Deadline::NEVER.remaining(|| 0)), (None, None));
    }
}
