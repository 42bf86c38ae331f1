//! Lifetimes of entries: of callers, for backends, and the remaining lifetime.

use std::time::{Duration, SystemTime};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Clock,
};

/// The lifetime that a caller gives an entry.
///
/// A [`Duration`] is a timeout too. The default of the alias and "never" are written out. An
/// `Option` is not a timeout, because `None` means "never" in Django.
///
/// ```
/// use cache_core::{Timeout, secs};
/// use std::time::Duration;
///
/// assert_eq!(secs(300), Timeout::After(Duration::from_secs(300)));
/// assert_eq!(Timeout::from(Duration::from_millis(5)), Timeout::After(Duration::from_millis(5)));
/// assert!(Timeout::secs_f64(f64::NAN).is_err());
/// ```
///
/// ```compile_fail
/// # async fn f(cache: &cache_core::Cache) -> cache_core::Result<()> {
/// let unset: Option<std::time::Duration> = None;
/// cache.set("k", &1, unset).await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// The `timeout` setting of the alias.
    #[default]
    Default,
    /// The entry does not expire.
    Never,
    /// A duration from now. With zero, the entry is not kept.
    After(Duration),
    /// A time of the wall clock. With a past time, the entry is not kept.
    At(SystemTime),
}

/// Types that can be used as a timeout: a [`Timeout`], a [`Duration`] or a [`SystemTime`].
///
/// ```
/// use cache_core::{IntoTimeout, Timeout, secs};
///
/// fn in_a_minute(timeout: impl IntoTimeout) -> bool {
///     timeout.into_timeout() == secs(60)
/// }
/// assert!(in_a_minute(std::time::Duration::from_secs(60)) && !in_a_minute(Timeout::Never));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a timeout: for a number of seconds write `secs(60)`",
    label = "not a timeout",
    note = "a timeout is `cache_core::secs(60)`, a `std::time::Duration`, `Timeout::Never`, or `Timeout::Default` for the alias's own"
)]
pub trait IntoTimeout {
    /// Returns the timeout.
    fn into_timeout(self) -> Timeout;
}

/// Returns a timeout of `secs` seconds from now.
pub const fn secs(secs: u64) -> Timeout {
    Timeout::After(Duration::from_secs(secs))
}

/// The lifetime that a backend receives. It is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The entry does not expire.
    Never,
    /// At least this duration from now, rounded up to the granularity of the store. A duration that
    /// the store cannot represent becomes [`Expiry::Never`].
    After(Duration),
}

/// The remaining lifetime of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The entry does not expire.
    Forever,
    /// The entry expires after this duration.
    Remaining(Duration),
}

impl Ttl {
    /// Returns the lifetime of a new entry that ends at the same time.
    pub(crate) fn as_expiry(self) -> Expiry {
        match self {
            Self::Forever => Expiry::Never,
            Self::Remaining(left) => Expiry::After(left),
        }
    }
}

impl Timeout {
    /// Returns a timeout of `secs` seconds from now. A negative number is a past time: the entry is
    /// not kept.
    ///
    /// # Errors
    /// `Config` for NaN, the infinities, and numbers that a [`Duration`] cannot represent.
    pub fn secs_f64(secs: f64) -> Result<Self> {
        if secs.is_finite() && secs < 0.0 {
            return Ok(Self::After(Duration::ZERO));
        }
        Duration::try_from_secs_f64(secs).map(Self::After).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                "a timeout must be a finite number of seconds; use Timeout::Never for an entry that does not expire",
            )
        })
    }

    /// Returns the lifetime for a backend. `None` means that the entry must not be kept.
    pub(crate) fn resolve(self, default: Self, clock: &Clock) -> Option<Expiry> {
        match self {
            Self::Never => Some(Expiry::Never),
            Self::After(Duration::ZERO) => None,
            Self::After(it) => Some(Expiry::After(it)),
            Self::At(it) => {
                let left = it.duration_since(clock.wall()).unwrap_or_default();
                (!left.is_zero()).then_some(Expiry::After(left))
            }
            Self::Default if default == Self::Default => Some(Expiry::After(FALLBACK)),
            Self::Default => default.resolve(Self::Default, clock),
        }
    }
}

/// The default of Django (300 seconds), for an alias without the setting.
const FALLBACK: Duration = Duration::from_secs(300);

impl From<Duration> for Timeout {
    fn from(it: Duration) -> Self {
        Self::After(it)
    }
}

impl From<SystemTime> for Timeout {
    fn from(it: SystemTime) -> Self {
        Self::At(it)
    }
}

impl IntoTimeout for Timeout {
    fn into_timeout(self) -> Timeout {
        self
    }
}

impl IntoTimeout for Duration {
    fn into_timeout(self) -> Timeout {
        self.into()
    }
}

impl IntoTimeout for SystemTime {
    fn into_timeout(self) -> Timeout {
        self.into()
    }
}

impl Ttl {
    /// Returns whether the remaining lifetime is at least `it`. `Forever` always is.
    pub fn at_least(self, it: Duration) -> bool {
        match self {
            Self::Forever => true,
            Self::Remaining(left) => left >= it,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_or_zero_timeout_has_no_lifetime() {
        let clock = Clock::system();
        let default = Timeout::Never;
        assert_eq!(secs(0).resolve(default, &clock), None);
        assert_eq!(Timeout::At(SystemTime::UNIX_EPOCH).resolve(default, &clock), None);
        assert_eq!(Timeout::secs_f64(-1.0).unwrap().resolve(default, &clock), None);
    }

    #[test]
    fn default_is_the_setting_of_the_alias_or_300_seconds() {
        let clock = Clock::system();
        assert_eq!(Timeout::Default.resolve(Timeout::Never, &clock), Some(Expiry::Never));
        assert_eq!(
            Timeout::Default.resolve(Timeout::Default, &clock),
            Some(Expiry::After(Duration::from_secs(300)))
        );
        assert_eq!(Timeout::Default.resolve(secs(0), &clock), None);
    }

    #[test]
    fn float_that_is_not_a_duration_is_refused() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(Timeout::secs_f64(odd).unwrap_err().kind(), ErrorKind::Config, "{odd}");
        }
        assert_eq!(Timeout::secs_f64(0.5).unwrap(), Timeout::After(Duration::from_millis(500)));
    }
}
