//! How many calls are under way at the same time.

/// The maximum of calls under way, during the last 256 to 512 calls.
#[derive(Debug, Default)]
pub(super) struct Concurrency {
    /// The maximum during the current window.
    now: usize,
    /// The maximum during the window before.
    before: usize,
    /// The number of calls in the current window.
    calls: usize,
}

/// The number of calls in a window.
const WINDOW: usize = 256;

impl Concurrency {
    /// Records a call that has begun. `under_way` counts it.
    pub(super) fn record(&mut self, under_way: usize) {
        if self.calls == WINDOW {
            *self = Self { before: self.now, ..Self::default() };
        }
        self.calls += 1;
        self.now = self.now.max(under_way);
    }

    pub(super) fn most(&self) -> usize {
        self.now.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_calls_are_remembered_for_a_window_and_forgotten_after_two() {
        let mut concurrency = Concurrency::default();
        concurrency.record(64);
        let mut after = |calls| {
            (0..calls).for_each(|_| concurrency.record(1));
            concurrency.most()
        };
        assert_eq!(after(WINDOW), 64);
        assert_eq!(after(WINDOW), 1);
    }
}
