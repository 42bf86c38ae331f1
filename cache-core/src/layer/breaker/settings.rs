use std::time::Duration;

use serde::Deserialize;

use super::window::SLICES;
use crate::config::Period;

/// The settings of a [`Breaker`](super::Breaker): the table `[caches.<alias>.breaker]`.
///
/// They have no effect on stores that never wait, which have no breaker.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// Whether the alias has a breaker. `true` if unset.
    pub enabled: bool,
    /// The fraction of failed calls at which the breaker opens, above 0 and at most 1. 0.5 if
    /// unset.
    pub failure_rate: f64,
    /// The time over which calls are counted. 10 s if unset.
    pub window: Period,
    /// The number of calls below which `failure_rate` does not open the breaker. 10 if unset.
    pub min_calls: u32,
    /// The number of unanswered calls in a row that opens the breaker, even if earlier calls
    /// succeeded: within a deadline, and a quarter of it for each call after the first. 3 if unset.
    pub unanswered: u32,
    /// The time that the breaker stays open before a probe. 1 s if unset.
    pub open_for: Period,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { enabled: true, ..Self::off() }
    }
}

impl BreakerSettings {
    /// Returns settings without a breaker.
    pub const fn off() -> Self {
        Self {
            enabled: false,
            failure_rate: 0.5,
            window: Period::from_secs(10),
            min_calls: 10,
            unanswered: 3,
            open_for: Period::from_secs(1),
        }
    }

    /// Returns the name of the first invalid setting with the reason.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(self.failure_rate > 0.0 && self.failure_rate <= 1.0) {
            return Err(("failure_rate", "expected a fraction above 0 and at most 1, such as 0.5"));
        }
        if Duration::from(self.window) < Duration::from_millis(SLICES as u64) {
            return Err(("window", "expected at least 10 ms"));
        }
        if self.min_calls == 0 {
            return Err(("min_calls", "expected at least 1"));
        }
        if self.unanswered == 0 {
            return Err(("unanswered", "expected at least 1"));
        }
        Ok(())
    }
}
