//! A line on stderr when a store fails and nothing else tells of it: a program that has just been written has no subscriber, and
//! would see misses without a reason.

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

/// One for the process, whose stderr it is.
static LIMIT: Limit = Limit(AtomicU64::new(0));

/// Writes a line, unless there was one within a minute or something listens to `tracing`.
pub(crate) fn store_failed(error: &Error) {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = START.get_or_init(Instant::now).elapsed();
    if !is_traced() && LIMIT.pass(now) {
        // A closed stderr is no reason to fail a call, and `eprintln` would panic.
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

/// One line, whatever words of a server the error holds.
fn text(error: &Error) -> String {
    let mut res = format!(
        "cache-core: the store failed: {error}. This line appears once a minute at most; the feature `tracing` logs \
         failures, and `stderr_notice(false)` of the builder turns this line off"
    );
    if res.contains(char::is_control) {
        res = res.replace(char::is_control, " ");
    }
    res
}

/// The time in milliseconds from which on the next line may appear. No lock: one that is held while the process
/// forks stays locked in the child.
struct Limit(AtomicU64);

impl Limit {
    fn pass(&self, now: Duration) -> bool {
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let next = self.0.load(Ordering::Relaxed);
        let after = millis(now.saturating_add(EVERY));
        // Of callers at the same moment, one writes.
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
    fn subscriber_is_noticed() {
        assert!(!is_traced());
        let subscriber = tracing_subscriber::fmt().with_writer(io::sink).finish();
        tracing::subscriber::with_default(subscriber, || assert!(is_traced()));
    }
}
