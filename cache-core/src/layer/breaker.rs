mod settings;
mod shared;
mod state;
mod window;

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(crate) use self::shared::Known;
use self::state::{Admitted, Outcome, Refused, Rules, State};
pub use self::{settings::BreakerSettings, shared::Breakers, state::BreakerState};
use super::{Call, Layer, Reply};
use crate::{
    config::CacheSettings,
    error::{Error, ErrorKind, Result},
    runtime::{Clock, first},
    store::threads::was_behind_others,
    telemetry::observer,
};

/// A circuit breaker: if a server fails too often or stops answering, calls fail at once instead of
/// waiting for it.
///
/// A *closed* breaker lets every call through. It *opens* in two cases:
/// - After [`unanswered`](BreakerSettings::unanswered) calls in a row during which the server sent
///   nothing at all, even if earlier calls succeeded. After the first such call, the following
///   calls get a fifth of the deadline, or twice the slowest answer of the last seconds, until the
///   server answers a call. If such calls have waited for a deadline and a quarter of it for each
///   call after the first, fewer calls suffice.
/// - When at least `min_calls` calls ran within `window` and the fraction that failed reaches
///   `failure_rate`.
///
/// While *open*, for `open_for`, every call fails with `Unavailable` without reaching the server.
/// Then the breaker is *half open*: it lets one call through, the probe. If the probe succeeds, the
/// breaker closes, otherwise it opens again. The probe gets the same short time, so that it costs
/// its caller little. Every fourth probe gets the full time of a call, for a server that has become
/// slower. A probe that has not ended in its time loses the right to the next call, even if its
/// future is not polled.
///
/// Only `Unavailable` and `TimedOut` count as failures: every other error is an answer of the
/// server. An error that is [`ignored_by_breaker`](Error::ignored_by_breaker) counts neither as a
/// failure nor as an answer.
///
/// As a [`Layer`], a breaker wraps a store that is one server. A pool or a cluster keeps one
/// breaker per server instead
/// ([`Capabilities::breaks_per_server`](crate::store::Capabilities::breaks_per_server)), obtains
/// them from [`BuildContext::breakers`](crate::store::BuildContext::breakers), and makes its calls
/// through [`run`](Self::run).
///
/// ```
/// use cache_core::{Clock, Error, ErrorKind, layer::{Breaker, BreakerSettings, BreakerState}};
///
/// let breaker = Breaker::new(BreakerSettings::default(), Clock::system());
/// let error = Error::new(ErrorKind::TimedOut, "no answer within 500ms");
/// for _ in 0..3 {
///     breaker.admit()?.record(Some(&error));
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// let refused = breaker.admit().unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Unavailable);
/// assert!(refused.to_string().contains("no answer within 500ms"), "the reason is in the text");
/// # Ok::<_, cache_core::Error>(())
/// ```
pub struct Breaker {
    rules: Rules,
    clock: Clock,
    state: Mutex<State>,
    /// Whether the breaker is closed and no call is unanswered: calls go through without the lock.
    is_calm: AtomicBool,
    /// The aliases under which logs and metrics report this breaker.
    aliases: Mutex<Vec<Arc<str>>>,
}

/// The right to make one call, whose outcome must be recorded.
///
/// If the permit is dropped without [`record`](Self::record), the call counts as not made.
#[derive(Debug)]
#[must_use = "record the outcome of the call"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    call: Admitted,
    recorded: bool,
}

impl Breaker {
    /// Returns a closed breaker, for calls with the default deadlines of the settings.
    pub fn new(settings: BreakerSettings, clock: Clock) -> Self {
        let defaults = CacheSettings { breaker: settings, ..CacheSettings::new("") };
        Self::with_rules(Rules::of(&defaults), clock)
    }

    fn with_rules(rules: Rules, clock: Clock) -> Self {
        let is_calm = AtomicBool::new(true);
        Self { rules, clock, state: Mutex::default(), is_calm, aliases: Mutex::default() }
    }

    fn observed_as(&self, alias: &Arc<str>) {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        if !aliases.contains(alias) {
            aliases.push(Arc::clone(alias));
        }
    }

    /// Makes a call unless the breaker is open, and records its outcome. The call gets less time
    /// after a call that the server did not answer.
    ///
    /// ```
    /// use cache_core::{Clock, layer::{Breaker, BreakerSettings}};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let breaker = Breaker::new(BreakerSettings::default(), Clock::system());
    /// assert_eq!(breaker.run(async { Ok("PONG") }).await.unwrap(), "PONG");
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Unavailable` while the breaker is open: the text contains the failure that opened it.
    /// `TimedOut` at the end of the shortened time. Else the error of the call.
    ///
    /// # Cancel safety
    /// A dropped call counts as not made.
    pub async fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let permit = self.admit()?;
        let res = match permit.call.limit {
            None => pin!(call).await,
            Some(limit) => Box::pin(async { self.within(limit, pin!(Some(call))).await })
                .await
                .unwrap_or_else(|it| Err(it)),
        };
        permit.record(res.as_ref().err());
        res
    }

    async fn within<F: Future>(
        &self,
        limit: Duration,
        mut call: Pin<&mut Option<F>>,
    ) -> Result<F::Output> {
        // panics: never, only the code below sets it to `None`.
        let running = call.as_mut().as_pin_mut().expect("the call exists");
        let answer = first(running, self.clock.sleep(limit)).await;
        answer.ok_or_else(|| {
            let what = format!(
                "no answer within {limit:.0?}, the shortened time limit after other calls got no answer; \
                 a write may have had its effect"
            );
            let error = Error::new(ErrorKind::TimedOut, what);
            let is_behind_others = was_behind_others(|| call.set(None));
            if is_behind_others { error.ignored_by_breaker() } else { error }
        })
    }

    /// Lets a call through, or refuses it at once.
    ///
    /// The caller limits the time of an admitted call; [`run`](Self::run) also shortens it after a
    /// call that the server did not answer.
    ///
    /// # Errors
    /// `Unavailable` if the call is refused: the text contains the failure that opened the breaker.
    pub fn admit(&self) -> Result<Permit<'_>> {
        let now = self.clock.coarse();
        if self.is_calm.load(Ordering::Relaxed) {
            let call = Admitted { began: now, probe: None, limit: None };
            return Ok(Permit { breaker: self, call, recorded: false });
        }
        let mut state = self.lock();
        let call = state.admit(now, &self.rules).map_err(|it| refusal(&state, &it))?;
        if call.probe.is_some() {
            self.tell(BreakerState::HalfOpen, None);
        }
        Ok(Permit { breaker: self, call, recorded: false })
    }

    /// Returns whether the breaker would let a call through now.
    pub fn admits(&self) -> bool {
        self.lock().refuses(self.clock.coarse()).is_none()
    }

    /// Returns the current state.
    pub fn state(&self) -> BreakerState {
        self.lock().public()
    }

    fn record(&self, call: &Admitted, outcome: Outcome<'_>) {
        let now = self.clock.coarse();
        let mut state = self.lock();
        let has_changed = state.record(call, outcome, now, &self.rules);
        self.is_calm.store(state.is_calm(), Ordering::Relaxed);
        if has_changed {
            // An open breaker that stays open after a probe is reported without its reason.
            self.tell(state.public(), state.reason().filter(|_| call.probe.is_none()));
        }
    }

    /// Reports a change of state. Called under the lock of the state, so that reports keep their
    /// order.
    fn tell(&self, state: BreakerState, reason: Option<&Error>) {
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        observer::breaker(&aliases, state, reason);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error of a call that the breaker refuses.
fn refusal(state: &State, refused: &Refused) -> Error {
    let next = match refused.0 {
        Some(left) => format!("the next try is in {left:.0?}"),
        None => "one call is testing whether the server answers again".into(),
    };
    let last = state.reason().map(|it| format!(" (last: {})", it.message()));
    let refusal = Error::new(
        ErrorKind::Unavailable,
        format!(
            "the circuit breaker is open, because the server failed too often{}; {next}",
            last.unwrap_or_default()
        ),
    );
    match state.reason().and_then(|it| it.context("server")) {
        Some(server) => refusal.with_context("server", server),
        None => refusal,
    }
}

/// For layers.
impl Breaker {
    /// Lets a call through, or refuses it. There is no permit for calls that always go through:
    /// `check` and `close` must reach the server, and a call without a deadline would block all
    /// other calls if it were the probe.
    pub(super) fn admit_call(&self, call: &Call<'_>) -> Result<Option<Permit<'_>>> {
        if call.is_unlimited() { Ok(None) } else { self.admit().map(Some) }
    }

    /// Runs an admitted call within its shortened time.
    pub(super) async fn reply_within<R: Reply>(
        &self,
        limit: Duration,
        call: &Call<'_>,
        run: impl Future<Output = R>,
    ) -> R {
        let reply = self.within(limit, pin!(Some(run))).await;
        reply.unwrap_or_else(|error| R::failed(call, error))
    }
}

impl Permit<'_> {
    /// Returns the shortened time of the call, if it has less than the full time.
    pub(super) fn limit(&self, call: &Call<'_>) -> Option<Duration> {
        self.call.limit.map(|it| it.saturating_mul(call.rounds()))
    }

    pub(super) fn record_reply<R: Reply>(self, call: &Call<'_>, reply: &R) {
        self.end(outcome(call, reply));
    }

    /// Records the outcome of the call: its error, or `None` if it succeeded.
    pub fn record(self, error: Option<&Error>) {
        let outcome = match error {
            Some(error) if error.counts_for_breaker() => Outcome::Failed { error, heard: false },
            Some(error) if error.is_ignored_by_breaker() => Outcome::Nothing,
            _ => Outcome::Answered,
        };
        self.end(outcome);
    }

    fn end(mut self, outcome: Outcome<'_>) {
        self.recorded = true;
        self.breaker.record(&self.call, outcome);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.recorded && self.call.probe.is_some() {
            self.breaker.record(&self.call, Outcome::Nothing);
        }
    }
}

impl Layer for Breaker {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let permit = match self.admit_call(&call) {
            Ok(permit) => permit,
            Err(error) => return R::failed(&call, error),
        };
        let reply = match permit.as_ref().and_then(|it| it.limit(&call)) {
            None => pin!(run()).await,
            Some(limit) => Box::pin(self.reply_within(limit, &call, run())).await,
        };
        if let Some(permit) = permit {
            permit.record_reply(&call, &reply);
        }
        reply
    }

    /// A store that never waits has no server that could fail.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

/// Returns the outcome of a call. A batch fails if one of its keys failed; the server was heard if
/// it answered for one key.
fn outcome<'a, R: Reply>(call: &Call<'_>, reply: &'a R) -> Outcome<'a> {
    let (mut failed, mut silent) = (None, 0);
    for error in reply.errors() {
        let counts = error.counts_for_breaker();
        silent += usize::from(counts || error.is_ignored_by_breaker());
        failed = failed.or(counts.then_some(error));
    }
    // A call of one key has one reply, also if it concerns a second key (`rename`).
    let replies = if call.key.is_some() { 1 } else { call.keys.max(1) };
    let heard = silent < replies;
    match failed {
        Some(error) => Outcome::Failed { error, heard },
        None if heard => Outcome::Answered,
        None => Outcome::Nothing,
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Operation;

    #[test]
    fn batch_with_one_answered_key_counts_as_heard() {
        let call = Call {
            operation: Operation::GetMany,
            key: None,
            keys: 2,
            bytes: 0,
            lifetime: None,
            idempotent: true,
        };
        let failed = || Err(Error::new(ErrorKind::TimedOut, "no answer"));
        let locked = || failed().map_err(|it: Error| it.ignored_by_breaker());
        let of = |replies: [Result<()>; 2]| format!("{:?}", outcome(&call, &replies.to_vec()));
        assert!(of([failed(), Ok(())]).contains("heard: true"));
        assert!(of([failed(), failed()]).contains("heard: false"));
        assert!(of([locked(), failed()]).contains("heard: false"));
        assert_eq!(of([locked(), Ok(())]), "Answered");
        assert_eq!(of([locked(), locked()]), "Nothing");
        // A rename names two keys and has one reply.
        let rename = Call { operation: Operation::IncrVersion, key: Some("k"), ..call };
        let reply: Result<()> = failed();
        assert!(format!("{:?}", outcome(&rename, &reply)).contains("heard: false"));
    }
}
