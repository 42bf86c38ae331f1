//! Waiting with a timeout.

use std::{pin::pin, time::Duration};

use cache_core::Clock;
use futures_util::future::{Either, select};

/// Returns the output of a future, or `None` if it takes longer than `timeout`. For a few calls
/// with timeouts of their own; many calls with one deadline share a
/// [`SharedDeadline`](cache_core::store::SharedDeadline).
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
    match select(pin!(future), pin!(clock.sleep(timeout))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
