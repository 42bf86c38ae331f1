//! Expiry as a database stores it: milliseconds since 1970, or NULL.

use std::time::{Duration, UNIX_EPOCH};

use cache_core::{Clock, Ttl, store::Expiry};

/// The clock of a database.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    /// The machine's wall clock, which other processes and later runs share.
    Wall(Clock),
    /// A monotonic clock, for a database that ends with the process.
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

    /// Returns the current time, rounded down.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.since().as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns when an entry that is written now expires: rounded up, so never early. A time beyond
    /// the range means never.
    pub(crate) fn expires(&self, expiry: Expiry) -> Option<i64> {
        let Expiry::After(time) = expiry else { return None };
        let at = self.since().checked_add(time)?;
        let millis = at.as_millis() + u128::from(at.subsec_nanos() % 1_000_000 > 0);
        i64::try_from(millis).ok()
    }
}

/// Returns the remaining lifetime.
pub(crate) fn ttl(expires: Option<i64>, now: i64) -> Ttl {
    match expires {
        None => Ttl::Forever,
        Some(at) => {
            let left = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
            Ttl::Remaining(Duration::from_millis(left))
        }
    }
}
