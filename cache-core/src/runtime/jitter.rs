use super::per_process::current_process;
use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Returns a random duration between zero and `longest` ("full jitter"), so that callers that
/// failed together do not retry together.
///
/// ```
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// assert!(cache_core::store::jitter(second) <= second);
/// ```
pub fn jitter(longest: Duration) -> Duration {
    let random = u32::try_from(random() >> 32).unwrap_or_default();
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Returns a random number, from the only source of randomness in the standard library.
///
/// A child of `fork` inherits the state of its thread, so the number depends on the process, too.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(current_process())
}
