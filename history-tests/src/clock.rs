//! A clock that all processes of the machine share.

use rustix::time::{ClockId, clock_gettime};

/// The nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

/// Returns the nanoseconds of the kernel's monotonic clock, which begins with the machine.
/// `std::time::Instant` reads the same clock, but its value cannot leave the process.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
