use std::time::Duration;

/// A sign that a stream of messages, which keeps copies of entries in memory up to date, misses
/// nothing.
///
/// The memory is bypassed from `valid_until` on, unless another heartbeat comes before: so it
/// returns no old values if the process stands still, or the thread that receives the messages. A
/// value may be returned for as long after its change as there is between the moment at which the
/// heartbeat was sent and `valid_until`.
///
/// A stream that sends no heartbeats is valid until it ends. One that does sends the first before
/// it is ready.
///
/// ```
/// use cache_core::{store::Heartbeat, testing::FakeClock};
/// use std::time::Duration;
///
/// let clock = FakeClock::new().clock();
/// let sent = clock.now();
/// // The server has answered. The next heartbeat is sent after a second, and answered within 500 ms.
/// let lag = clock.now() - sent;
/// let valid_until = sent + lag + Duration::from_millis(1500);
/// assert!(Heartbeat { lag, valid_until }.valid_until > clock.now());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// How long the heartbeat took there and back. The server answers it behind all earlier
    /// messages, so those have been reported.
    pub lag: Duration,
    /// The time by which the next heartbeat is reported, if all is well: one of
    /// [`BuildContext::clock`](super::BuildContext::clock).
    pub valid_until: Duration,
}
