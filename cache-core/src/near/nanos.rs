use std::time::Duration;

/// Returns a time in nanoseconds, or `u64::MAX` for one after 584 years.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
