use std::{
    fmt,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;

use super::{Call, Hook, Operation, Reply};
use crate::{Clock, Error, ErrorKind, Period, Result, observe::Observer};

/// A circuit breaker: when a server fails too often, calls end at once instead of waiting for it.
///
/// *Closed*, it lets every call through and counts. When of the calls in the last `window` (at least `min_calls`) a share
/// of `failure_rate` has failed, it *opens*: for `open_for` every call fails with `Unavailable`, without reaching
/// the server. Then it is *half open*: one call, the probe, goes through; if it succeeds, the breaker closes, otherwise
/// it opens again. Only `Unavailable` and `TimedOut` count as failures: what a server answers, it has answered.
///
/// As a [`Hook`] it is around a store that is one server. A pool or a cluster keeps one for each server instead
/// ([`Capabilities::breaks_per_server`](crate::Capabilities::breaks_per_server)), made by
/// [`BuildContext::breaker`](crate::BuildContext::breaker), and asks [`admit`](Self::admit).
///
/// ```
/// use cache_core::{Clock, Error, ErrorKind, layers::{Breaker, BreakerSettings, BreakerState}};
///
/// let breaker = Breaker::new(BreakerSettings::default(), Clock::system());
/// let error = Error::new(ErrorKind::TimedOut, "no answer within 500ms");
/// for _ in 0..10 {
///     breaker.admit()?.record(Some(&error));
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// let refused = breaker.admit().unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Unavailable);
/// assert!(refused.to_string().contains("no answer within 500ms"), "it says why");
/// # Ok::<_, cache_core::Error>(())
/// ```
pub struct Breaker {
    settings: BreakerSettings,
    clock: Clock,
    state: Mutex<State>,
    observer: Option<Observer>,
}

/// The settings of a [`Breaker`]: the table `[caches.<alias>.breaker]`. Stores that never wait have none.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// Whether there is one. `true` if unset.
    pub enabled: bool,
    /// The share of failed calls at which it opens, over 0 and up to 1. 0.5 if unset.
    pub failure_rate: f64,
    /// The time over which calls are counted. 10 s if unset.
    pub window: Period,
    /// It does not open on fewer calls than these. 10 if unset.
    pub min_calls: u32,
    /// How long it stays open before a probe. 1 s if unset.
    pub open_for: Period,
}

/// Where a [`Breaker`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls fail at once.
    Open,
    /// One call is on its way to find out.
    HalfOpen,
}

/// The right to make one call, and the duty to say what came of it. Dropped before that, the call counts as not made.
#[derive(Debug)]
#[must_use = "a call that is let through is recorded"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    recorded: bool,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Calls and failures, in slices of the window; the current one is last.
    slices: [Slice; SLICES],
    /// The number of the current slice since the clock began.
    slice: u128,
    /// What it opened for, so that those whom it turns away learn what is wrong.
    reason: Option<Error>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    Probing,
}

#[derive(Clone, Copy, Default)]
struct Slice {
    calls: u32,
    failures: u32,
}

const SLICES: usize = 10;

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { enabled: true, ..Self::off() }
    }
}

impl BreakerSettings {
    /// No breaker.
    pub const fn off() -> Self {
        Self {
            enabled: false,
            failure_rate: 0.5,
            window: Period::from_secs(10),
            min_calls: 10,
            open_for: Period::from_secs(1),
        }
    }

    /// What is wrong with these, by the name of the setting.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(self.failure_rate > 0.0 && self.failure_rate <= 1.0) {
            return Err(("failure_rate", "expected a share over 0 and up to 1, such as 0.5"));
        }
        if Duration::from(self.window) < Duration::from_millis(SLICES as u64) {
            return Err(("window", "expected at least 10 ms"));
        }
        if self.min_calls == 0 {
            return Err(("min_calls", "expected at least 1"));
        }
        Ok(())
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings, clock: Clock) -> Self {
        Self { settings, clock, state: Mutex::default(), observer: None }
    }

    /// Another one, closed, for another server of the same store: with the same settings, told of in the same place.
    ///
    /// ```
    /// # use cache_core::{Clock, layers::{Breaker, BreakerSettings, BreakerState}};
    /// let first = Breaker::new(BreakerSettings::default(), Clock::system());
    /// assert_eq!(first.another().state(), BreakerState::Closed);
    /// ```
    #[must_use]
    pub fn another(&self) -> Self {
        let res = Self::new(self.settings, self.clock.clone());
        Self { observer: self.observer.clone(), ..res }
    }

    /// Tells of its changes.
    pub(crate) fn observed_by(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    fn tell(&self, state: BreakerState, reason: Option<&Error>) {
        if let Some(observer) = &self.observer {
            observer.breaker(state, reason);
        }
    }

    /// Lets a call through, or ends it at once with `Unavailable`, whose text has the failure that it opened for.
    pub fn admit(&self) -> Result<Permit<'_>> {
        let mut state = self.lock();
        let is_probe = match state.phase {
            Phase::Closed => false,
            Phase::Open { until } => {
                let now = self.clock.coarse();
                if now < until {
                    return Err(state.refusal(Some(until.saturating_sub(now))));
                }
                state.phase = Phase::Probing;
                self.tell(BreakerState::HalfOpen, None);
                true
            }
            Phase::Probing => return Err(state.refusal(None)),
        };
        Ok(Permit { breaker: self, is_probe, recorded: false })
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match self.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::Probing => BreakerState::HalfOpen,
        }
    }

    fn record(&self, failure: Option<&Error>, is_probe: bool) {
        let now = self.clock.coarse();
        let mut state = self.lock();
        let until = now.saturating_add(self.settings.open_for.into());
        if is_probe {
            state.slices = [Slice::default(); SLICES];
            if let Some(reason) = failure {
                self.open(&mut state, until, reason);
            } else {
                (state.phase, state.reason) = (Phase::Closed, None);
                self.tell(BreakerState::Closed, None);
            }
            return;
        }
        // Late answers of calls that were let through before it opened tell nothing new.
        if !matches!(state.phase, Phase::Closed) {
            return;
        }
        state.turn_to(
            now.as_nanos() * SLICES as u128 / Duration::from(self.settings.window).as_nanos(),
        );
        let current = &mut state.slices[SLICES - 1];
        current.calls = current.calls.saturating_add(1);
        current.failures = current.failures.saturating_add(u32::from(failure.is_some()));
        if let Some(reason) = failure
            && self.is_over_the_limit(&state.slices)
        {
            self.open(&mut state, until, reason);
        }
    }

    fn open(&self, state: &mut State, until: Duration, reason: &Error) {
        state.phase = Phase::Open { until };
        state.reason = Some(reason.clone());
        self.tell(BreakerState::Open, Some(reason));
    }

    fn is_over_the_limit(&self, slices: &[Slice]) -> bool {
        let sum = |of: fn(&Slice) -> u32| slices.iter().map(|it| u64::from(of(it))).sum::<u64>();
        let (calls, failures) = (sum(|it| it.calls), sum(|it| it.failures));
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let rate = failures as f64 / calls as f64;
        calls >= u64::from(self.settings.min_calls) && rate >= self.settings.failure_rate
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes slice `number` the current one.
    fn turn_to(&mut self, number: u128) {
        let passed = usize::try_from(number.saturating_sub(self.slice)).unwrap_or(SLICES);
        let passed = passed.min(SLICES);
        self.slices.rotate_left(passed);
        self.slices[SLICES - passed..].fill(Slice::default());
        self.slice = self.slice.max(number);
    }

    /// What a call is told that is not let through.
    fn refusal(&self, left: Option<Duration>) -> Error {
        let next = match left {
            Some(left) => format!("the next try is in {left:.0?}"),
            None => "a first call is finding out whether it answers again".into(),
        };
        let last = self.reason.as_ref().map(|it| format!(" (last: {})", it.message()));
        let refusal = Error::new(
            ErrorKind::Unavailable,
            format!(
                "the circuit breaker is open, because the server failed too often{}; {next}",
                last.unwrap_or_default()
            ),
        );
        match self.reason.as_ref().and_then(|it| it.context("server")) {
            Some(server) => refusal.with_context("server", server),
            None => refusal,
        }
    }
}

impl Permit<'_> {
    /// Says what came of the call: its error, if it failed.
    pub fn record(mut self, error: Option<&Error>) {
        self.recorded = true;
        self.breaker.record(error.filter(|it| it.counts_for_breaker()), self.is_probe);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.recorded {
            // The probe was cancelled: the next call is one.
            self.breaker.lock().phase = Phase::Open { until: Duration::ZERO };
        }
    }
}

impl Hook for Breaker {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        // Who checks or closes wants to know, or to be done; and what has no deadline would, as the probe, keep all others waiting.
        let is_free = matches!(
            call.operation,
            Operation::Check | Operation::Close | Operation::Clear | Operation::ClearStore
        );
        let permit = match (!is_free).then(|| self.admit()).transpose() {
            Ok(permit) => permit,
            Err(error) => return R::failed(&call, error),
        };
        let reply = pin!(run()).await;
        if let Some(permit) = permit {
            // A batch fails if one of its keys could not be had.
            permit.record(reply.errors().find(|it| it.counts_for_breaker()));
        }
        reply
    }

    /// A store that never waits has no server that could fail.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).finish_non_exhaustive()
    }
}
