use std::time::Duration;

/// The claim of a background task, of which one runs at a time. It ends by itself, because the task
/// may have died with its runtime.
#[derive(Default)]
pub(crate) struct TaskClaim {
    until: Duration,
}

impl TaskClaim {
    /// Returns whether the caller becomes the task: it has work, and no other one is running. The
    /// task counts as running for `lasts`.
    pub(crate) fn begin(&mut self, has_work: bool, now: Duration, lasts: Duration) -> bool {
        has_work && self.until <= now && self.go_on(has_work, now, lasts)
    }

    /// Returns whether the task has work and goes on. It counts as running for `lasts` more.
    pub(crate) fn go_on(&mut self, has_work: bool, now: Duration, lasts: Duration) -> bool {
        self.until = if has_work { now.saturating_add(lasts) } else { Duration::ZERO };
        has_work
    }
}
