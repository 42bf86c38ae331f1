use std::time::Duration;

/// The decision of a [`Limiter`](super::Limiter) on one request.
///
/// [`RateLimitLayer`](super::RateLimitLayer) adds it to the extensions of each response that it
/// decided on, for layers around it that write the body of a refusal or log it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the request may pass.
    pub allowed: bool,
    /// How many requests the rule admits: the limit, or the burst of GCRA.
    pub limit: u32,
    /// How many requests may follow at once.
    pub remaining: u32,
    /// The time until more requests may pass than now.
    pub reset_after: Duration,
    /// The time after which a refused request may come again. `None` if the request is allowed.
    pub retry_after: Option<Duration>,
    /// Whether the store failed. Then nothing was counted, or the count is unknown, `allowed` is
    /// the choice that the limiter was made with, and the other fields say nothing about the
    /// client.
    pub store_failed: bool,
}

impl Decision {
    pub(super) fn allow(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self {
            allowed: true,
            limit,
            remaining,
            reset_after,
            retry_after: None,
            store_failed: false,
        }
    }

    pub(super) fn refuse(limit: u32, reset_after: Duration, retry_after: Duration) -> Self {
        Self {
            allowed: false,
            limit,
            remaining: 0,
            reset_after,
            retry_after: Some(retry_after),
            store_failed: false,
        }
    }

    /// The answer while the store is down.
    pub(super) fn failed(allowed: bool, limit: u32) -> Self {
        // About the time after which the circuit breaker tries the store again.
        let again = Duration::from_secs(1);
        let retry_after = if allowed { None } else { Some(again) };
        Self { allowed, limit, remaining: 0, reset_after: again, retry_after, store_failed: true }
    }
}
