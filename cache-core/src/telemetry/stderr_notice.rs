//! A line on stderr for a failing store that is not reported elsewhere: a new program has no
//! subscriber, and would see misses without a reason.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::error::Error;

const EVERY: Duration = Duration::from_secs(60);

/// One limit for the process, because all caches share its stderr.
static LIMIT: Limit = Limit(AtomicU64::new(0));

/// Writes a line, unless a line was written within the last minute or a subscriber receives
/// `tracing` events.
pub(crate) fn store_failed(error: &Error) {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = START.get_or_init(Instant::now).elapsed();
    if !is_traced() && LIMIT.pass(now) {
        // A closed stderr must not fail the call, and `eprintln` would panic.
        let _ = writeln!(io::stderr(), "{}", text(error));
    }
}

#[cfg(feature = "tracing")]
fn is_traced() -> bool {
    tracing::dispatcher::get_default(|it| !it.is::<tracing::subscriber::NoSubscriber>())
}

#[cfg(not(feature = "tracing"))]
fn is_traced() -> bool {
    false
}

/// Returns the notice as one line, even if the error contains line breaks from a server.
fn text(error: &Error) -> String {
    let mut res = format!(
        "cache-core: the store failed: {error}. This line appears at most once a minute; the feature `tracing` logs \
         failures, and `stderr_notice(false)` of the builder turns this line off"
    );
    if res.contains(char::is_control) {
        res = res.replace(char::is_control, " ");
    }
    res
}

/// The time in milliseconds from which the next line may appear. Not a lock, because a lock that is
/// held during a fork stays locked in the child.
struct Limit(AtomicU64);

impl Limit {
    fn pass(&self, now: Duration) -> bool {
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let next = self.0.load(Ordering::Relaxed);
        let after = millis(now.saturating_add(EVERY));
        // Of several callers at the same moment, one writes.
        millis(now) >= next
            && self.0.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn one_line_a_minute_passes() {
        let limit = Limit(AtomicU64::new(0));
        let passed = |seconds| limit.pass(Duration::from_secs(seconds));
        assert!(passed(0) && !passed(0) && !passed(59));
        assert!(passed(60) && !passed(119) && passed(300));
    }

    #[test]
    fn notice_is_one_line_with_the_error_and_the_way_to_turn_it_off() {
        let error =
            Error::new(ErrorKind::Unavailable, "refused\r\nby x").with_context("alias", "a");
        let text = text(&error);
        assert!(text.starts_with(
            "cache-core: the store failed: store unavailable: refused  by x (alias: a). "
        ));
        assert!(text.contains("stderr_notice(false)") && !text.contains('\n'));
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn subscriber_is_detected() {
        assert!(!is_traced());
        let subscriber = tracing_subscriber::fmt().with_writer(io::sink).finish();
        tracing::subscriber::with_default(subscriber, || assert!(is_traced()));
    }
}
