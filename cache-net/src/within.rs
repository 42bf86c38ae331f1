//! Waiting with a timeout.

use std::time::Duration;

use cache_core::{Clock, TimeLimit};

/// Returns the output of a future, or `None` if it takes longer than `timeout`. For a few calls with
/// timeouts of their own; many calls with one deadline share a [`TimeLimit`].
///
/// # Cancel safety
/// Dropping it drops the future, and so does the timeout.
///
/// ```
/// use std::{future::pending, time::Duration};
///
/// use cache_core::Clock;
/// use cache_net::within;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (clock, timeout) = (Clock::system(), Duration::from_millis(5));
/// assert_eq!(within(&clock, timeout, async { 7 }).await, Some(7));
/// assert_eq!(within(&clock, timeout, pending::<()>()).await, None);
/// # }
/// ```
pub async fn within<T>(
    clock: &Clock,
    timeout: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    TimeLimit::new(timeout, clock.clone()).run(future).await
}
