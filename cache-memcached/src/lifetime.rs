//! Lifetimes in the whole seconds of memcached, never shorter than asked.

use std::time::{Duration, UNIX_EPOCH};

use cache_core::{Clock, Ttl, store::Expiry};

/// Longer ones the server takes for times of the wall clock.
const THIRTY_DAYS: u64 = 30 * 86_400;
/// Where the server's numbers end.
pub(crate) const LAST: u64 = i32::MAX as u64;

/// The number for a lifetime; 0 is never. The server counts by a clock that ticks each second: what it is told to keep for one
/// second may live no longer than a moment, so it is told one more. And as each tick comes a little late, now and then one counts two
/// seconds, every few minutes, or every few seconds where the machine is busy: so it is told yet one more.
pub(crate) fn seconds(expiry: Expiry, clock: &Clock) -> u64 {
    let Expiry::After(time) = expiry else { return 0 };
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    match seconds.saturating_add(2) {
        ticks @ ..=THIRTY_DAYS => ticks,
        // A time ends when it is over, however the server came there.
        _ => as_time(seconds.saturating_add(1), clock),
    }
}

/// The number for what remains of an entry, by which it ends then, whenever it is written anew. `clock` is what remained at the same
/// time of an entry that ends with the server's numbers.
pub(crate) fn end(ttl: Ttl, clock: Duration) -> u64 {
    let Ttl::Remaining(left) = ttl else { return 0 };
    let until = LAST.saturating_sub(clock.as_secs()).saturating_add(left.as_secs());
    if until > LAST { 0 } else { until }
}

/// The number by which an entry of one server ends at the same time on another one, by what remained on both of an entry that ends with
/// the server's numbers. Clocks that differ by no more than a second, which they do by chance, count as one: there and back the end is the same.
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
    // One more, for the server makes it a time of another clock, whose seconds do not begin together with those of this one.
    let until = now.saturating_add(seconds).saturating_add(1);
    // A lifetime that ends after the server's time does is one that does not end.
    if until > LAST { 0 } else { until }
}

/// What the server says with the flag `t`.
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
    fn a_lifetime_is_rounded_up_and_has_two_ticks_more() {
        assert_eq!(after(Duration::from_nanos(1)), 3);
        assert_eq!(after(Duration::from_secs(1)), 3);
        assert_eq!(after(Duration::from_millis(1001)), 4);
        assert_eq!(seconds(Expiry::Never, &Clock::system()), 0);
    }

    #[test]
    fn over_thirty_days_it_is_a_time_and_beyond_the_servers_it_is_never() {
        assert_eq!(after(Duration::from_secs(THIRTY_DAYS - 2)), THIRTY_DAYS);
        assert!(after(Duration::from_secs(THIRTY_DAYS - 1)) > 2 * THIRTY_DAYS);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let year = after(Duration::from_secs(365 * 86_400));
        // The clock of the system may have gone on for a moment, or been held up for a while.
        assert!((now + 365 * 86_400 + 2..).contains(&year), "{year}");
        let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((..=later + 365 * 86_400 + 2).contains(&year), "{year}");
        assert_eq!(after(Duration::from_secs(100 * 365 * 86_400)), 0);
        assert_eq!(after(Duration::MAX), 0);
    }

    #[test]
    fn entry_that_is_written_anew_ends_when_it_would_have() {
        let (left, clock) = (Duration::from_secs(7), Duration::from_secs(1000));
        assert_eq!(end(Ttl::Remaining(left), clock), LAST - 993);
        assert_eq!(end(Ttl::Remaining(Duration::ZERO), clock), LAST - 1000);
        assert_eq!(end(Ttl::Remaining(clock), clock), LAST);
        assert_eq!(end(Ttl::Remaining(clock + left), clock), 0, "the server's numbers end there");
        assert_eq!(end(Ttl::Forever, clock), 0);
    }

    #[test]
    fn entry_that_is_moved_to_another_server_ends_at_the_same_time() {
        let clock = Duration::from_secs;
        assert_eq!(on_other_server(0, clock(100), clock(5)), 0);
        for other in [99, 100, 101] {
            assert_eq!(on_other_server(LAST - 7, clock(100), clock(other)), LAST - 7);
        }
        assert_eq!(
            on_other_server(LAST - 1000, clock(100), clock(40)),
            LAST - 940,
            "it is a minute ahead"
        );
        assert_eq!(on_other_server(LAST - 1000, clock(40), clock(100)), LAST - 1060);
        assert_eq!(on_other_server(LAST - 1, clock(100), clock(40)), 0);
        assert_eq!(remaining(-1), Ttl::Forever);
        assert_eq!(remaining(7), Ttl::Remaining(Duration::from_secs(7)));
    }
}
