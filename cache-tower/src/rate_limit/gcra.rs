//! The generic cell rate algorithm: the bucket refills by one request per interval.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{decision::Decision, rule::RateLimit};

/// The state of a client. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Bucket {
    /// When the bucket is full again: the theoretical arrival time.
    full_at: u64,
    /// The latest time of a clock that a process had.
    seen: u64,
}

/// Decides on a request at the time `clock`. Returns the new state if it is allowed.
pub(super) fn check(
    rule: &RateLimit,
    old: Option<Bucket>,
    clock: u64,
) -> (Option<Bucket>, Decision) {
    let interval = rule.interval_nanos();
    let capacity = interval.saturating_mul(rule.burst.into());
    let now = old.map_or(clock, |it| it.seen.max(clock));
    let used = old.map_or(0, |it| it.full_at.saturating_sub(now));
    let after = used.saturating_add(interval);
    if after > capacity {
        let wait = Duration::from_nanos(after - capacity);
        return (None, Decision::refuse(rule.burst, wait, wait));
    }
    let remaining = (capacity - after) / interval.max(1);
    // The next whole request is refilled at this rest.
    let wait = after - (capacity - interval.saturating_mul(remaining + 1));
    let decision = Decision::allow(
        rule.burst,
        remaining.try_into().unwrap_or(u32::MAX),
        Duration::from_nanos(wait),
    );
    (Some(Bucket { full_at: now.saturating_add(after), seen: now }), decision)
}
