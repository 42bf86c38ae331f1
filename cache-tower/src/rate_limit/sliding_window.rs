//! The sliding window: counts of its parts, which together are never less than the exact count.

use std::time::Duration;

use super::{decision::Decision, rule::RateLimit};

/// The state of a client: the parts of time that have requests, the oldest first. A part is its
/// number since 1970 and its count.
pub(super) type Counts = Vec<(u64, u32)>;

/// Decides on a request at the time `clock`. Returns the new state if it is allowed.
pub(super) fn check(
    rule: &RateLimit,
    old: Option<Counts>,
    clock: u64,
) -> (Option<Counts>, Decision) {
    let slot = rule.slot_nanos();
    let mut counts = old.unwrap_or_default();
    // The latest time that a process had, if the own clock is behind.
    let newest = counts.last().map_or(0, |it| it.0);
    let now = newest.saturating_mul(slot).max(clock);
    // A part counts until its last moment is older than the window.
    let forgotten_in = |number: u64| {
        let end = number.saturating_add(1).saturating_mul(slot);
        end.saturating_add(rule.window_nanos()).saturating_sub(now)
    };
    counts.retain(|it| forgotten_in(it.0) > 0);
    let total = counts.iter().map(|it| u64::from(it.1)).sum::<u64>();
    let limit = u64::from(rule.limit);
    let allowed = total < limit;
    if allowed {
        match counts.last_mut() {
            Some((number, count)) if *number == now / slot => *count = count.saturating_add(1),
            _ => counts.push((now / slot, 1)),
        }
    }
    // The time until so many requests no longer count. A limit of zero has no requests.
    let wait = |requests: u64| {
        let mut forgotten = 0;
        let enough = counts.iter().find(|it| {
            forgotten += u64::from(it.1);
            forgotten >= requests
        });
        enough.map_or(rule.window, |it| Duration::from_nanos(forgotten_in(it.0)))
    };
    if !allowed {
        // More than one request is too many if the limit was lowered.
        let decision = Decision::refuse(rule.limit, wait(1), wait(total - limit + 1));
        return (None, decision);
    }
    let remaining = u32::try_from(limit - total - 1).unwrap_or(u32::MAX);
    let decision = Decision::allow(rule.limit, remaining, wait(1));
    (Some(counts), decision)
}
