//! Statistics of the calls in the last seconds.

use std::time::Duration;

pub(super) const SLICES: usize = 10;

/// Calls, failures and the slowest answer, in slices of the counting period.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The slices; the current one is last.
    slices: [Slice; SLICES],
    /// The number of the current slice since the clock began.
    number: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    calls: u32,
    failures: u32,
    slowest: Duration,
}

impl Window {
    /// Counts a call that ended now; `answered` is the time until its answer, `None` if the call
    /// failed.
    pub(super) fn count(&mut self, now: Duration, of: Duration, answered: Option<Duration>) {
        self.turn_to(nanos(now) / (nanos(of) / SLICES as u64).max(1));
        let current = &mut self.slices[SLICES - 1];
        current.calls = current.calls.saturating_add(1);
        current.failures = current.failures.saturating_add(u32::from(answered.is_none()));
        current.slowest = current.slowest.max(answered.unwrap_or_default());
    }

    /// Returns the number of calls, and how many of them failed.
    pub(super) fn sums(&self) -> (u64, u64) {
        let sum =
            |of: fn(&Slice) -> u32| self.slices.iter().map(|it| u64::from(of(it))).sum::<u64>();
        (sum(|it| it.calls), sum(|it| it.failures))
    }

    /// Returns the duration of the slowest answer.
    pub(super) fn slowest(&self) -> Duration {
        self.slices.iter().map(|it| it.slowest).max().unwrap_or_default()
    }

    fn turn_to(&mut self, number: u64) {
        if number <= self.number {
            return;
        }
        let passed = usize::try_from(number - self.number).unwrap_or(SLICES).min(SLICES);
        self.slices.rotate_left(passed);
        self.slices[SLICES - passed..].fill(Slice::default());
        self.number = number;
    }
}

/// Returns the duration as a number, at most 584 years: 64 bits are cheap to divide.
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}
