use std::time::Duration;

use super::settings::{FetchSettings, RefreshAhead, or_zero};
use crate::{
    runtime::{Clock, jitter},
    timeout::{Expiry, Timeout, Ttl},
    value::{Codec, envelope::Terms},
};

/// The rules of one fetch: those of the alias, and what the caller changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) ttl: Timeout,
    pub(crate) grace: Duration,
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) load_deadline: Duration,
    pub(crate) backoff: Option<Duration>,
    pub(crate) jitter: f64,
    pub(crate) negative_ttl: Duration,
    pub(crate) error_ttl: Duration,
    pub(crate) refresh_ahead: RefreshAhead,
    pub(crate) refresh_lock: bool,
    pub(crate) fenced: bool,
    pub(crate) lease_wait: Option<bool>,
    /// Whether integers are stored as plain text, without a grace, so that `incr` counts in them.
    pub(crate) plain_integers: bool,
    /// The codec of loaded values, if it is not that of the alias.
    pub(crate) codec: Option<Codec>,
    /// The label of the keyspace of the fetch.
    pub(crate) keyspace: Option<&'static str>,
    /// The revision of the value.
    pub(crate) revision: Option<u64>,
}

/// The rules that a load without a task replaces in the policy of its alias. They are smaller than
/// a policy, which would enlarge the future of each load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overrides {
    pub(crate) ttl: Timeout,
    /// The grace of the alias if `None`.
    pub(crate) grace: Option<Duration>,
    /// The codec of the alias if `None`.
    pub(crate) codec: Option<Codec>,
    /// The label of the keyspace of the call.
    pub(crate) keyspace: Option<&'static str>,
    /// Whether to load although there is a value.
    pub(crate) force: bool,
}

/// The settings of an alias that its fetches cannot change.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one for each setting")]
pub(crate) struct Allowed {
    pub(crate) grace: bool,
    pub(crate) negative_ttl: bool,
    pub(crate) fenced: bool,
    pub(crate) revisions: bool,
    /// The lifetime that [`Timeout::Default`] stands for.
    pub(crate) default: Timeout,
}

/// The part of a lifetime by which loaded values live longer, if no setting says otherwise.
const JITTER: f64 = 0.1;
/// The longest lifetime that jitter prolongs, so that no multiplication overflows.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
const BACKOFF: Duration = Duration::from_secs(10);

impl Policy {
    pub(crate) fn new(settings: &FetchSettings, load_deadline: Duration) -> Self {
        Self {
            ttl: settings.ttl.unwrap_or_default(),
            grace: or_zero(settings.grace),
            soft: settings.soft_timeout.map(Duration::from),
            hard: settings.hard_timeout.map(Duration::from),
            load_deadline,
            backoff: settings.backoff.map(Duration::from),
            jitter: settings.jitter.unwrap_or(JITTER),
            negative_ttl: or_zero(settings.negative_ttl),
            error_ttl: or_zero(settings.error_ttl),
            refresh_ahead: settings.refresh_ahead,
            refresh_lock: settings.refresh_lock,
            fenced: settings.fenced.unwrap_or(false),
            lease_wait: settings.lease_wait,
            plain_integers: false,
            codec: None,
            keyspace: None,
            revision: None,
        }
    }

    /// Returns how long after a failed refresh no new one begins.
    pub(crate) fn backoff(&self) -> Duration {
        self.backoff.unwrap_or(BACKOFF)
    }

    /// Returns how long a caller that has a stale value waits for a new one.
    pub(crate) fn soft(&self) -> Duration {
        self.soft.unwrap_or_default().min(self.hard.unwrap_or(Duration::MAX))
    }

    /// Returns whether a fenced load waits while another process loads the key.
    pub(crate) fn lease_wait(&self) -> bool {
        self.lease_wait.unwrap_or(true)
    }

    /// Returns the longest time of a load and of what precedes it: a fenced load may first wait for
    /// another process.
    pub(crate) fn longest_load(&self) -> Duration {
        let loads = if self.fenced && self.lease_wait() { 2 } else { 1 };
        self.load_deadline.saturating_mul(loads)
    }

    /// Returns the lifetime of a value that is stored now, without grace. `timeout` replaces the
    /// `ttl`. `None` if the value must not be stored.
    pub(crate) fn lifetime(
        &self,
        timeout: Option<Timeout>,
        default: Timeout,
        clock: &Clock,
    ) -> Option<Expiry> {
        let jittered = timeout.is_none() && !matches!(self.ttl, Timeout::At(_));
        match timeout.unwrap_or(self.ttl).resolve(default, clock)? {
            Expiry::After(time) if jittered => {
                Some(Expiry::After(time.saturating_add(jitter(self.longest_jitter(time)))))
            }
            expiry => Some(expiry),
        }
    }

    /// Returns a bound of the lifetimes that may be stored.
    pub(crate) fn longest(&self, default: Timeout, clock: &Clock) -> Option<Expiry> {
        match self.ttl.resolve(default, clock)? {
            Expiry::Never => Some(Expiry::Never),
            Expiry::After(time) => {
                // A bound is enough, and each fetch pays for it.
                let time = if self.jitter > 0.0 { time.saturating_mul(2) } else { time };
                Some(Expiry::After(time.saturating_add(self.grace).max(self.negative_ttl)))
            }
        }
    }

    /// Returns whether a fresh value is to be loaded again. `left` remains of its whole lifetime.
    pub(crate) fn is_due(&self, terms: &Terms, left: Ttl, default: Timeout, clock: &Clock) -> bool {
        let Ttl::Remaining(left) = left else { return false };
        let left = left.saturating_sub(terms.grace);
        match self.refresh_ahead {
            RefreshAhead::Off => false,
            RefreshAhead::Fraction(fraction) => {
                let lifetime = if terms.lifetime.is_zero() {
                    match self.ttl.resolve(default, clock) {
                        Some(Expiry::After(time)) => time,
                        _ => return false,
                    }
                } else {
                    terms.lifetime
                };
                left.as_secs_f64() <= lifetime.as_secs_f64() * (1.0 - fraction)
            }
            RefreshAhead::XFetch => {
                // A random number above zero, so that the logarithm is finite.
                let random = (1.0 - jitter(Duration::from_secs(1)).as_secs_f64()).max(1e-9);
                left.as_secs_f64() <= terms.load_time.as_secs_f64() * -random.ln()
            }
        }
    }

    fn longest_jitter(&self, time: Duration) -> Duration {
        time.min(CENTURY).mul_f64(self.jitter)
    }

    fn expires(&self, allowed: &Allowed) -> bool {
        self.ttl != Timeout::Never
            && (self.ttl != Timeout::Default || allowed.default != Timeout::Never)
    }

    fn refreshes(&self) -> bool {
        !self.grace.is_zero() || self.refresh_ahead != RefreshAhead::Off
    }

    /// Returns the name of the first invalid setting with the reason. A setting that is equal to
    /// that of `inherited` may have no effect: those of an alias are for all of its fetches.
    pub(crate) fn check(
        &self,
        allowed: &Allowed,
        inherited: &Self,
    ) -> Result<(), (&'static str, &'static str)> {
        if !self.grace.is_zero() && !allowed.grace {
            return Err(("grace", NEEDS_GRACE));
        }
        if !self.negative_ttl.is_zero() && !allowed.negative_ttl {
            return Err(("negative_ttl", NEEDS_NEGATIVE_TTL));
        }
        if self.fenced && !allowed.fenced {
            return Err(("fenced", NEEDS_FENCED));
        }
        if self.lease_wait.is_some() && !allowed.fenced {
            return Err(("lease_wait", "no effect without fenced loads: set `fenced`"));
        }
        if self.revision.is_some() && !allowed.revisions {
            return Err(("revision", NEEDS_REVISIONS));
        }
        if self.grace != inherited.grace && !self.grace.is_zero() && !self.expires(allowed) {
            return Err((
                "grace",
                "no effect without a lifetime: the values never expire; set `ttl`",
            ));
        }
        let is_soft = self.soft.is_some() && self.soft != inherited.soft;
        if is_soft && self.grace.is_zero() {
            return Err(("soft_timeout", "no effect without a stale value: set `grace`"));
        }
        if self.hard.is_some_and(|it| it.is_zero()) {
            return Err(("hard_timeout", "expected a duration above zero: every load would fail"));
        }
        if self.load_deadline.is_zero() {
            return Err(("load_deadline", "expected a duration above zero: every load would fail"));
        }
        if self.hard != inherited.hard && self.hard.is_some_and(|it| it > self.load_deadline) {
            return Err((
                "hard_timeout",
                "longer than `load_deadline`, so it would have no effect",
            ));
        }
        if is_soft && self.soft > self.hard && self.hard.is_some() {
            return Err(("soft_timeout", "longer than `hard_timeout`, so it would have no effect"));
        }
        let is_backoff = self.backoff.is_some() && self.backoff != inherited.backoff;
        if is_backoff && !self.refreshes() {
            return Err(("backoff", "no effect without refreshes: set `grace` or `refresh_ahead`"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(("jitter", "expected a fraction from 0 to 1, such as 0.1"));
        }
        match self.refresh_ahead {
            RefreshAhead::Fraction(it) if !(it > 0.0 && it < 1.0) => {
                return Err((
                    "refresh_ahead",
                    "expected a fraction between 0 and 1, such as 0.8, \"xfetch\" or \"off\"",
                ));
            }
            RefreshAhead::XFetch if !allowed.grace => return Err(("refresh_ahead", XFETCH)),
            it if it != inherited.refresh_ahead
                && it != RefreshAhead::Off
                && !self.expires(allowed) =>
            {
                return Err((
                    "refresh_ahead",
                    "no effect without a lifetime: the values never expire; set `ttl`",
                ));
            }
            _ => {}
        }
        if self.refresh_lock && !inherited.refresh_lock && !self.refreshes() {
            return Err((
                "refresh_lock",
                "no effect without refreshes: set `grace` or `refresh_ahead`",
            ));
        }
        Ok(())
    }
}

const NEEDS_GRACE: &str = "grace is off for this cache, because each of its reads would have to ask \
     for the remaining lifetime as well: write `grace = \"1h\"` in the table `fetch` of the cache \
     (`[caches.<alias>.fetch]`), or `grace = 0` there to allow it without a default";
const NEEDS_NEGATIVE_TTL: &str = "remembering that there is no value is off for this cache, because \
     each of its reads would have to look for it: write `negative_ttl = \"1m\"` in the table `fetch` \
     of the cache (`[caches.<alias>.fetch]`), or `negative_ttl = 0` there to allow it without a \
     default";
const NEEDS_FENCED: &str = "fenced loads are off for this cache, because each of its reads would have \
     to know their leases: write `fenced = true` in the table `fetch` of the cache \
     (`[caches.<alias>.fetch]`), or `fenced = false` there to allow them without a default";
pub(crate) const NEEDS_REVISIONS: &str = "revisions are off for this cache, because each of its reads \
     would have to know them: write `revisions = true` in the table of the cache (`[caches.<alias>]`)";
const XFETCH: &str = "\"xfetch\" keeps the duration of a load with the value: write `grace = \"1h\"` in \
     the table `fetch` of the cache (`[caches.<alias>.fetch]`), or `grace = 0`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeout::secs;

    const ALLOWED: Allowed = Allowed {
        grace: true,
        negative_ttl: true,
        fenced: true,
        revisions: true,
        default: Timeout::Default,
    };

    fn policy() -> Policy {
        Policy::new(&FetchSettings::default(), Duration::from_secs(30))
    }

    fn fault(change: impl Fn(&mut Policy)) -> Option<&'static str> {
        let mut policy = policy();
        change(&mut policy);
        fault_beside(&self::policy(), &policy)
    }

    fn fault_beside(alias: &Policy, policy: &Policy) -> Option<&'static str> {
        policy.check(&ALLOWED, alias).err().map(|(setting, _)| setting)
    }

    #[test]
    fn settings_without_effect_and_numbers_out_of_range_are_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(fault(|_| ()), None);
        assert_eq!(fault(|it| it.grace = second), None);
        assert_eq!(fault(|it| (it.grace, it.ttl) = (second, Timeout::Never)), Some("grace"));
        assert_eq!(fault(|it| it.soft = Some(second)), Some("soft_timeout"));
        let soft = |hard| {
            fault(move |it| (it.grace, it.soft, it.hard) = (second, Some(second), Some(hard)))
        };
        assert_eq!(soft(second), None);
        assert_eq!(soft(second / 2), Some("soft_timeout"));
        assert_eq!(fault(|it| it.hard = Some(Duration::ZERO)), Some("hard_timeout"));
        assert_eq!(fault(|it| it.load_deadline = Duration::ZERO), Some("load_deadline"));
        let late = |it: &mut Policy| it.hard = Some(it.load_deadline + second);
        assert_eq!(fault(late), Some("hard_timeout"));
        assert_eq!(fault(|it| it.backoff = Some(second)), Some("backoff"));
        assert_eq!(fault(|it| it.refresh_lock = true), Some("refresh_lock"));
        for odd in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(fault(|it| it.jitter = odd), Some("jitter"), "{odd}");
        }
        for odd in [0.0, 1.0, -0.5, f64::NAN] {
            let ahead = RefreshAhead::Fraction(odd);
            assert_eq!(fault(|it| it.refresh_ahead = ahead), Some("refresh_ahead"), "{odd}");
        }
        let ahead = RefreshAhead::Fraction(0.8);
        assert_eq!(fault(|it| it.refresh_ahead = ahead), None);
        let never = |it: &mut Policy| (it.refresh_ahead, it.ttl) = (ahead, Timeout::Never);
        assert_eq!(fault(never), Some("refresh_ahead"));
    }

    #[test]
    fn settings_of_the_alias_need_no_effect_on_a_fetch_and_its_own_do() {
        const SECOND: Duration = Duration::from_secs(1);
        let alias = Policy {
            grace: SECOND,
            soft: Some(SECOND),
            hard: Some(2 * SECOND),
            backoff: Some(SECOND),
            refresh_lock: true,
            ..policy()
        };
        let fault = |change: fn(&mut Policy)| {
            let mut fetch = alias;
            change(&mut fetch);
            fault_beside(&alias, &fetch)
        };
        assert_eq!(fault(|it| it.grace = Duration::ZERO), None);
        assert_eq!(fault(|it| it.ttl = Timeout::Never), None);
        assert_eq!(fault(|it| it.hard = Some(Duration::from_millis(1))), None);
        assert_eq!(fault(|it| it.load_deadline = Duration::from_millis(1)), None);
        let of_its_own: [(fn(&mut Policy), _); 4] = [
            (|it| it.soft = Some(SECOND / 2), "soft_timeout"),
            (|it| it.backoff = Some(SECOND / 2), "backoff"),
            (|it| (it.grace, it.ttl) = (2 * SECOND, Timeout::Never), "grace"),
            (|it| (it.grace, it.soft) = (SECOND, Some(3 * SECOND)), "soft_timeout"),
        ];
        for (number, (change, setting)) in of_its_own.into_iter().enumerate() {
            let mut fetch = Policy { grace: Duration::ZERO, ..alias };
            change(&mut fetch);
            assert_eq!(fault_beside(&alias, &fetch), Some(setting), "{number}");
        }
        let ahead = Policy { refresh_ahead: RefreshAhead::Fraction(0.5), ..policy() };
        assert_eq!(fault_beside(&ahead, &Policy { ttl: Timeout::Never, ..ahead }), None);
    }

    #[test]
    fn grace_of_a_cache_that_does_not_enable_it_is_refused() {
        let off = Allowed {
            grace: false,
            negative_ttl: false,
            fenced: false,
            revisions: false,
            default: secs(60),
        };
        let grace = Policy { grace: Duration::from_secs(1), ..policy() };
        let (setting, why) = grace.check(&off, &policy()).unwrap_err();
        assert_eq!(setting, "grace");
        assert!(why.contains("`grace = \"1h\"`") && why.contains(".fetch]"), "{why}");
        let negative = Policy { negative_ttl: Duration::from_secs(1), ..policy() };
        assert_eq!(negative.check(&off, &policy()).unwrap_err().0, "negative_ttl");
        let fenced = Policy { fenced: true, ..policy() };
        assert_eq!(fenced.check(&off, &policy()).unwrap_err().0, "fenced");
        let wait = Policy { lease_wait: Some(false), ..policy() };
        assert_eq!(wait.check(&off, &policy()).unwrap_err().0, "lease_wait");
        let revision = Policy { revision: Some(7), ..policy() };
        assert_eq!(revision.check(&off, &policy()).unwrap_err().0, "revision");
        let ahead = Policy { refresh_ahead: RefreshAhead::XFetch, ..policy() };
        assert_eq!(ahead.check(&off, &policy()).unwrap_err().0, "refresh_ahead");
    }
}
