//! Lifetimes in milliseconds of the wall clock, which outlives the process.

use std::time::{Duration, SystemTime};

use cache_core::{Clock, Ttl, store::Expiry};

/// For ever, in a header.
pub(crate) const NEVER: u64 = 0;

/// Now, in whole milliseconds since 1970 that have passed: nothing expires before its millisecond is over.
pub(crate) fn now(clock: &Clock) -> u64 {
    u64::try_from(since_1970(clock).as_millis()).unwrap_or(u64::MAX)
}

/// When what is written now expires, rounded up; a time that no number holds is never.
pub(crate) fn expires(expiry: Expiry, clock: &Clock) -> u64 {
    let Expiry::After(life) = expiry else { return NEVER };
    let Some(at) = since_1970(clock).checked_add(life) else { return NEVER };
    let millis = at.as_nanos().div_ceil(1_000_000);
    // A clock that stands before 1970 must not make an entry immortal.
    u64::try_from(millis).map_or(NEVER, |it| it.max(1))
}

/// What remains of a live entry.
pub(crate) fn remaining(expires: u64, clock: &Clock) -> Ttl {
    if expires == NEVER {
        return Ttl::Forever;
    }
    let left = Duration::from_millis(expires).saturating_sub(since_1970(clock));
    // Time goes on while one looks.
    Ttl::Remaining(left.max(Duration::from_nanos(1)))
}

fn since_1970(clock: &Clock) -> Duration {
    clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cache_core::testing::FakeClock;

    use super::*;

    #[test]
    fn a_life_is_rounded_up_and_never_down() {
        let fake = FakeClock::new();
        let clock = fake.clock();
        fake.advance(Duration::from_nanos(999_999));
        let expires = expires(Expiry::After(Duration::from_nanos(2)), &clock);
        assert_eq!(expires, now(&clock) + 2, "the millisecond that has begun, and what is left");
        fake.advance(Duration::from_nanos(2));
        assert!(expires > now(&clock));
        fake.advance(Duration::from_millis(1));
        assert!(expires <= now(&clock));
    }

    #[test]
    fn what_no_clock_can_reach_is_never() {
        let clock = FakeClock::new().clock();
        assert_eq!(expires(Expiry::After(Duration::MAX), &clock), NEVER);
        assert_eq!(expires(Expiry::Never, &clock), NEVER);
        assert_eq!(remaining(NEVER, &clock), Ttl::Forever);
    }

    #[test]
    fn a_clock_before_1970_makes_nothing_immortal() {
        let fake = FakeClock::new();
        fake.set_wall(SystemTime::UNIX_EPOCH - Duration::from_secs(5));
        let clock = fake.clock();
        assert_ne!(expires(Expiry::After(Duration::from_nanos(0)), &clock), NEVER);
    }
}
