//! A limit on the rate of events.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Lets one event per period pass: a store that is down fails thousands of calls.
#[derive(Default)]
pub(super) struct Limit(Mutex<(Option<Duration>, u64)>);

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

impl Limit {
    /// Returns the number of events suppressed since the last that passed; `None` if this event
    /// is suppressed too.
    pub(super) fn pass(&self, now: Duration, every: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held_back) = &mut *state;
        if last.is_some_and(|it| now.saturating_sub(it) < every) {
            *held_back += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(held_back))
    }
}
