//! Lifetimes in whole seconds, as memcached has them, and never shorter than requested.

use std::time::{Duration, UNIX_EPOCH};

use cache_core::{Clock, Ttl, store::Expiry};

/// The server interprets larger numbers as Unix times.
const THIRTY_DAYS: u64 = 30 * 86_400;
/// The largest expiry that the server can store.
pub(crate) const LAST: u64 = i32::MAX as u64;

/// Returns the server's number for a lifetime; 0 means never. The server's clock ticks once a
/// second, so an entry with a lifetime of one second may expire after a moment. Therefore, one
/// second is added. A tick is a little late, so now and then one tick counts two seconds: every few
/// minutes, or every few seconds on a busy machine. Therefore, another second is added.
pub(crate) fn seconds(expiry: Expiry, clock: &Clock) -> u64 {
    let Expiry::After(time) = expiry else { return 0 };
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    match seconds.saturating_add(2) {
        ticks @ ..=THIRTY_DAYS => ticks,
        // A Unix time does not depend on the number of ticks.
        _ => as_time(seconds.saturating_add(1), clock),
    }
}

/// Returns the server's number for the same expiry as an existing entry, for a later write of the
/// entry. `clock` is the remaining lifetime, at the same moment, of an entry that expires at
/// [`LAST`].
pub(crate) fn end(ttl: Ttl, clock: Duration) -> u64 {
    let Ttl::Remaining(left) = ttl else { return 0 };
    let until = LAST.saturating_sub(clock.as_secs()).saturating_add(left.as_secs());
    if until > LAST { 0 } else { until }
}

/// Converts an expiry of one server to an expiry of another server. `from` and `to` are the
/// remaining lifetimes, on each server, of an entry that expires at [`LAST`]. Clocks that differ by
/// at most a second, which happens by chance, count as equal, so that a rename there and back keeps
/// the expiry.
pub(crate) fn on_other_server(end: u64, from: Duration, to: Duration) -> u64 {
    let seconds = |it: Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
    let ahead = seconds(from).saturating_sub(seconds(to));
    match ahead {
        _ if end == 0 => 0,
        -1..=1 => end,
        _ => end.checked_add_signed(ahead).filter(|it| (1..=LAST).contains(it)).unwrap_or(0),
    }
}

fn as_time(seconds: u64, clock: &Clock) -> u64 {
    let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    // One more second, because the server converts the time to its own clock, whose seconds start
    // at other moments.
    let until = now.saturating_add(seconds).saturating_add(1);
    // A lifetime beyond the server's largest expiry does not end.
    if until > LAST { 0 } else { until }
}

/// Converts the flag `t` of a reply.
pub(crate) fn remaining(seconds: i64) -> Ttl {
    u64::try_from(seconds).map_or(Ttl::Forever, |it| Ttl::Remaining(Duration::from_secs(it)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn after(time: Duration) -> u64 {
        seconds(Expiry::After(time), &Clock::system())
    }

    #[test]
    fn lifetime_is_rounded_up_and_two_seconds_longer() {
        assert_eq!(after(Duration::from_nanos(1)), 3);
        assert_eq!(after(Duration::from_secs(1)), 3);
        assert_eq!(after(Duration::from_millis(1001)), 4);
        assert_eq!(seconds(Expiry::Never, &Clock::system()), 0);
    }

    #[test]
    fn lifetime_over_thirty_days_is_a_time_and_beyond_the_range_never() {
        assert_eq!(after(Duration::from_secs(THIRTY_DAYS - 2)), THIRTY_DAYS);
        assert!(after(Duration::from_secs(THIRTY_DAYS - 1)) > 2 * THIRTY_DAYS);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let year = after(Duration::from_secs(365 * 86_400));
        // The system clock may have advanced for a moment, or the thread may have been paused.
        assert!((now + 365 * 86_400 + 2..).contains(&year), "{year}");
        let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((..=later + 365 * 86_400 + 2).contains(&year), "{year}");
        assert_eq!(after(Duration::from_secs(100 * 365 * 86_400)), 0);
        assert_eq!(after(Duration::MAX), 0);
    }

    #[test]
    fn rewritten_entry_keeps_its_expiry() {
        let (left, clock) = (Duration::from_secs(7), Duration::from_secs(1000));
        assert_eq!(end(Ttl::Remaining(left), clock), LAST - 993);
        assert_eq!(end(Ttl::Remaining(Duration::ZERO), clock), LAST - 1000);
        assert_eq!(end(Ttl::Remaining(clock), clock), LAST);
        assert_eq!(end(Ttl::Remaining(clock + left), clock), 0, "beyond the largest expiry");
        assert_eq!(end(Ttl::Forever, clock), 0);
    }

    #[test]
    fn entry_on_another_server_keeps_its_expiry() {
        let clock = Duration::from_secs;
        assert_eq!(on_other_server(0, clock(100), clock(5)), 0);
        for other in [99, 100, 101] {
            assert_eq!(on_other_server(LAST - 7, clock(100), clock(other)), LAST - 7);
        }
        assert_eq!(
            on_other_server(LAST - 1000, clock(100), clock(40)),
            LAST - 940,
            "the clock is a minute ahead"
        );
        assert_eq!(on_other_server(LAST - 1000, clock(40), clock(100)), LAST - 1060);
        assert_eq!(on_other_server(LAST - 1, clock(100), clock(40)), 0);
        assert_eq!(remaining(-1), Ttl::Forever);
        assert_eq!(remaining(7), Ttl::Remaining(Duration::from_secs(7)));
    }
}
