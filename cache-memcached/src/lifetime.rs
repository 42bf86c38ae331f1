//! Lifetimes in the whole seconds of memcached, never shorter than asked.

use std::time::{Duration, UNIX_EPOCH};

use cache_core::{Clock, Expiry, Ttl};

/// Longer ones the server takes for times of the wall clock.
const THIRTY_DAYS: u64 = 30 * 86_400;
/// Where the server's numbers end.
const LAST: u64 = i32::MAX as u64;

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

/// The number for what a server said remains, so that it goes on for no less: counted from when it is written, it ends then or some
/// ticks later.
pub(crate) fn rest(ttl: Ttl, clock: &Clock) -> u64 {
    match ttl {
        Ttl::Forever => 0,
        Ttl::Remaining(left) if left.as_secs() <= THIRTY_DAYS => left.as_secs().max(1),
        Ttl::Remaining(left) => as_time(left.as_secs(), clock),
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
    fn what_remains_goes_on_for_no_less() {
        let clock = Clock::system();
        assert_eq!(rest(Ttl::Forever, &clock), 0);
        assert_eq!(rest(Ttl::Remaining(Duration::ZERO), &clock), 1);
        assert_eq!(rest(Ttl::Remaining(Duration::from_secs(60)), &clock), 60);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let year = rest(Ttl::Remaining(Duration::from_secs(365 * 86_400)), &clock);
        assert!(year > now + 365 * 86_400, "{year}");
        assert_eq!(remaining(-1), Ttl::Forever);
        assert_eq!(remaining(7), Ttl::Remaining(Duration::from_secs(7)));
    }
}
