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
/// use cache_core::{Clock, ErrorKind, layers::{Breaker, BreakerSettings, BreakerState}};
///
/// let breaker = Breaker::new(BreakerSettings::default(), Clock::system());
/// for _ in 0..10 {
///     breaker.admit()?.record(Some(ErrorKind::TimedOut));
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert_eq!(breaker.admit().unwrap_err().kind(), ErrorKind::Unavailable);
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

struct State {
    phase: Phase,
    /// Calls and failures, in slices of the window; the current one is last.
    slices: [Slice; SLICES],
    /// The number of the current slice since the clock began.
    slice: u128,
}

enum Phase {
    Closed,
    Open { until: Duration },
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
        let state = State { phase: Phase::Closed, slices: [Slice::default(); SLICES], slice: 0 };
        Self { settings, clock, state: Mutex::new(state), observer: None }
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

    fn tell(&self, state: BreakerState) {
        if let Some(observer) = &self.observer {
            observer.breaker(state);
        }
    }

    /// Lets a call through, or ends it at once with `Unavailable`.
    pub fn admit(&self) -> Result<Permit<'_>> {
        let mut state = self.lock();
        let is_probe = match state.phase {
            Phase::Closed => false,
            Phase::Open { until } => {
                let now = self.clock.coarse();
                if now < until {
                    return Err(open(Some(until.saturating_sub(now))));
                }
                state.phase = Phase::Probing;
                self.tell(BreakerState::HalfOpen);
                true
            }
            Phase::Probing => return Err(open(None)),
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

    fn record(&self, failed: bool, is_probe: bool) {
        let now = self.clock.coarse();
        let mut state = self.lock();
        let until = now.saturating_add(self.settings.open_for.into());
        if is_probe {
            state.slices = [Slice::default(); SLICES];
            state.phase = if failed { Phase::Open { until } } else { Phase::Closed };
            self.tell(if failed { BreakerState::Open } else { BreakerState::Closed });
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
        current.failures = current.failures.saturating_add(u32::from(failed));
        if failed && self.is_over_the_limit(&state.slices) {
            state.phase = Phase::Open { until };
            self.tell(BreakerState::Open);
        }
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
}

impl Permit<'_> {
    /// Says what came of the call: the kind of its error, if it failed.
    pub fn record(mut self, error: Option<ErrorKind>) {
        self.recorded = true;
        let failed = matches!(error, Some(ErrorKind::Unavailable | ErrorKind::TimedOut));
        self.breaker.record(failed, self.is_probe);
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

fn open(left: Option<Duration>) -> Error {
    let next = match left {
        Some(left) => format!("the next try is in {left:.0?}"),
        None => "a first call is finding out whether it answers again".into(),
    };
    Error::new(
        ErrorKind::Unavailable,
        format!("the circuit breaker is open, because the server failed too often; {next}"),
    )
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
            permit.record(worst(&reply));
        }
        reply
    }

    /// A store that never waits has no server that could fail.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

/// The kind of an error that counts, or of any.
fn worst<R: Reply>(reply: &R) -> Option<ErrorKind> {
    let mut res = None;
    for error in reply.errors() {
        let kind = error.kind();
        if matches!(kind, ErrorKind::Unavailable | ErrorKind::TimedOut) {
            return Some(kind);
        }
        res = Some(kind);
    }
    res
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).finish_non_exhaustive()
    }
}
