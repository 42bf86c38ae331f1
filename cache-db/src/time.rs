//! Expiry as a database keeps it: milliseconds since 1970, or nothing.

use std::time::{Duration, UNIX_EPOCH};

use cache_core::{Clock, Ttl, store::Expiry};

/// What tells the time of a database.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    /// The machine's clock: other processes, and this one after a restart, go by the same.
    Wall(Clock),
    /// A clock that nobody sets, for what ends with this process; since it began.
    Process(Clock),
}

impl Time {
    pub(crate) fn clock(&self) -> &Clock {
        let (Self::Wall(it) | Self::Process(it)) = self;
        it
    }

    fn since(&self) -> Duration {
        match self {
            Self::Wall(it) => it.wall().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Process(it) => it.now(),
        }
    }

    /// Now, rounded down.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.since().as_millis()).unwrap_or(i64::MAX)
    }

    /// When an entry expires that is written now: rounded up, so never early. What is beyond all time does not expire.
    pub(crate) fn expires(&self, expiry: Expiry) -> Option<i64> {
        let Expiry::After(time) = expiry else { return None };
        let at = self.since().checked_add(time)?;
        let millis = at.as_millis() + u128::from(at.subsec_nanos() % 1_000_000 > 0);
        i64::try_from(millis).ok()
    }
}

/// What remains at that time.
pub(crate) fn ttl(expires: Option<i64>, now: i64) -> Ttl {
    match expires {
        None => Ttl::Forever,
        Some(at) => {
            let left = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
            Ttl::Remaining(Duration::from_millis(left))
        }
    }
}
