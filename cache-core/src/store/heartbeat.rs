use std::time::Duration;

/// The sign of life of a stream of messages, which keeps copies of entries in memory up to date.
///
/// The memory is bypassed when `valid_for` has passed without another heartbeat, so that it returns
/// no old values if the process, or the thread that receives the messages, stands still. A stream
/// that sends no heartbeats is valid until it ends. One that does sends the first before it is
/// ready.
///
/// ```
/// use cache_core::store::Heartbeat;
/// use std::time::Duration;
///
/// // One is sent every second, and answered within 500 ms.
/// let (lag, every) = (Duration::from_millis(2), Duration::from_secs(1));
/// let heartbeat = Heartbeat { lag, valid_for: every + Duration::from_millis(500) };
/// assert!(heartbeat.lag < heartbeat.valid_for);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// All messages that were sent earlier than this have been reported: the heartbeat, which the
    /// server answers behind these messages, took this long there and back.
    pub lag: Duration,
    /// The time within which the next heartbeat is reported, if all is well.
    pub valid_for: Duration,
}
