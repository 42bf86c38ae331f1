use std::time::Duration;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Clock,
    timeout::{Expiry, Timeout},
};

/// Returns how long a lock with this lease lasts.
pub(super) fn checked(lease: Timeout, default: Timeout, clock: &Clock) -> Result<Duration> {
    let what = match lease.resolve(default, clock) {
        Some(Expiry::After(lease)) => return Ok(lease),
        Some(Expiry::Never) => {
            "the lease of a lock has no end, so a crashed owner would keep the lock forever"
        }
        None => "the lease of a lock is zero",
    };
    Err(Error::new(ErrorKind::Config, format!("{what}: pass a duration, such as `secs(30)`")))
}
