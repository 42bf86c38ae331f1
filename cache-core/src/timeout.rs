//! How long an entry lives: what callers ask for, what backends are told, and what they report.

use std::time::{Duration, SystemTime};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Clock,
};

/// What a caller asks for.
///
/// A [`Duration`] is a timeout, too. The alias's default and "never" are written out: an `Option`, whose
/// `None` means "never" in Django, is not a timeout.
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
    /// The alias's `timeout` setting.
    #[default]
    Default,
    /// The entry does not expire.
    Never,
    /// From now; zero means "do not keep it".
    After(Duration),
    /// Until that time of the wall clock; a past one means "do not keep it".
    At(SystemTime),
}

/// What may be given as a timeout: a [`Timeout`], a [`Duration`] or a [`SystemTime`].
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
    /// The timeout.
    fn into_timeout(self) -> Timeout;
}

/// `secs` seconds from now.
pub const fn secs(secs: u64) -> Timeout {
    Timeout::After(Duration::from_secs(secs))
}

/// The lifetime that a backend is told; zero never reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The entry does not expire.
    Never,
    /// From now: at least this long, rounded up to what the store can measure. More than it can
    /// represent is [`Expiry::Never`].
    After(Duration),
}

/// What remains of an entry's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// It does not expire.
    Forever,
    /// It lives this much longer.
    Remaining(Duration),
}

impl Timeout {
    /// `secs` seconds from now; an error for NaN, the infinities and what no [`Duration`] can hold.
    /// A negative number is a past time: the entry is not kept.
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

    /// The lifetime for a backend; `None` means that the entry must not be kept.
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

/// Django's default of 300 seconds, for an alias whose settings say nothing.
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
    /// Whether this much more life is left: for ever is more than anything.
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
    fn a_past_or_zero_time_is_not_kept() {
        let clock = Clock::system();
        let default = Timeout::Never;
        assert_eq!(secs(0).resolve(default, &clock), None);
        assert_eq!(Timeout::At(SystemTime::UNIX_EPOCH).resolve(default, &clock), None);
        assert_eq!(Timeout::secs_f64(-1.0).unwrap().resolve(default, &clock), None);
    }

    #[test]
    fn unset_means_the_alias_default_and_then_djangos() {
        let clock = Clock::system();
        assert_eq!(Timeout::Default.resolve(Timeout::Never, &clock), Some(Expiry::Never));
        assert_eq!(
            Timeout::Default.resolve(Timeout::Default, &clock),
            Some(Expiry::After(Duration::from_secs(300)))
        );
        assert_eq!(Timeout::Default.resolve(secs(0), &clock), None);
    }

    #[test]
    fn no_float_makes_an_immortal_entry() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(Timeout::secs_f64(odd).unwrap_err().kind(), ErrorKind::Config, "{odd}");
        }
        assert_eq!(Timeout::secs_f64(0.5).unwrap(), Timeout::After(Duration::from_millis(500)));
    }
}
