//! Expiry times in milliseconds of the wall clock, which continues after the process ends.

use std::time::{Duration, SystemTime};

use cache_core::{Clock, Ttl, store::Expiry};

/// The expiry time of an entry that never expires, as in its header.
pub(crate) const NEVER: u64 = 0;

/// Returns the time in milliseconds since 1970, rounded down, so that nothing expires early.
pub(crate) fn now(clock: &Clock) -> u64 {
    u64::try_from(since_1970(clock).as_millis()).unwrap_or(u64::MAX)
}

/// Returns the expiry time of an entry that is written now, rounded up. A time too far away to
/// represent is [`NEVER`].
pub(crate) fn expires(expiry: Expiry, clock: &Clock) -> u64 {
    let Expiry::After(ttl) = expiry else { return NEVER };
    let Some(at) = since_1970(clock).checked_add(ttl) else { return NEVER };
    let millis = at.as_nanos().div_ceil(1_000_000);
    // With a clock before 1970, 0 would mean "never".
    u64::try_from(millis).map_or(NEVER, |it| it.max(1))
}

/// Returns the remaining time of a live entry.
pub(crate) fn remaining(expires: u64, clock: &Clock) -> Ttl {
    if expires == NEVER {
        return Ttl::Forever;
    }
    let remaining = Duration::from_millis(expires).saturating_sub(since_1970(clock));
    // The entry was live a moment ago, so it must not have zero time.
    Ttl::Remaining(remaining.max(Duration::from_nanos(1)))
}

fn since_1970(clock: &Clock) -> Duration {
    clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cache_core::testing::FakeClock;

    use super::*;

    #[test]
    fn expiry_is_rounded_up_to_a_millisecond() {
        let fake = FakeClock::new();
        let clock = fake.clock();
        fake.advance(Duration::from_nanos(999_999));
        let expires = expires(Expiry::After(Duration::from_nanos(2)), &clock);
        assert_eq!(expires, now(&clock) + 2, "the current millisecond and the remaining part");
        fake.advance(Duration::from_nanos(2));
        assert!(expires > now(&clock));
        fake.advance(Duration::from_millis(1));
        assert!(expires <= now(&clock));
    }

    #[test]
    fn expiry_beyond_the_clock_is_never() {
        let clock = FakeClock::new().clock();
        assert_eq!(expires(Expiry::After(Duration::MAX), &clock), NEVER);
        assert_eq!(expires(Expiry::Never, &clock), NEVER);
        assert_eq!(remaining(NEVER, &clock), Ttl::Forever);
    }

    #[test]
    fn clock_before_1970_does_not_make_an_entry_permanent() {
        let fake = FakeClock::new();
        fake.set_wall(SystemTime::UNIX_EPOCH - Duration::from_secs(5));
        let clock = fake.clock();
        assert_ne!(expires(Expiry::After(Duration::from_nanos(0)), &clock), NEVER);
    }
}
