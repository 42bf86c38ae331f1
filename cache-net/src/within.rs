//! Waiting with a timeout.

use std::time::Duration;

use cache_core::{Clock, store::SharedDeadline};

/// Returns the output of a future, or `None` if it takes longer than `timeout`. For a few calls
/// with timeouts of their own; many calls with one deadline share a [`SharedDeadline`].
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
    SharedDeadline::new(timeout, clock.clone()).run(future).await
}
