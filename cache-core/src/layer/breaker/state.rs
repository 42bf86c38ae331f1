//! The rules by which a breaker opens and closes. Callers pass the time; this module reads no
//! clock.

use std::time::Duration;

use super::{BreakerSettings, window::Window};
use crate::{
    config::CacheSettings,
    error::{Error, ErrorKind},
};

/// The state of a [`Breaker`](super::Breaker).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls fail at once.
    Open,
    /// One call, the probe, tests whether the server answers again; other calls fail at once.
    HalfOpen,
}

#[derive(Debug, Default)]
pub(super) struct State {
    phase: Phase,
    window: Window,
    /// The failure that opened the breaker, for the calls that it refuses.
    reason: Option<Error>,
    /// The time of the server's last answer.
    heard: Option<Duration>,
    /// The calls in a row during which the server sent nothing.
    silence: Silence,
    /// The duration of the slowest answer before the breaker opened.
    slowest: Duration,
    /// The number of probes since the breaker opened, which is also the number of the current
    /// probe.
    probes: u64,
}

/// Unanswered calls in a row.
#[derive(Debug, Default)]
struct Silence {
    calls: u32,
    /// How long the calls have waited. Calls at the same time count once, and each for one deadline
    /// at most.
    waited: Duration,
    /// The end of the last call.
    end: Duration,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    /// The probe has until then to get an answer; afterwards another call may be the probe.
    Probing {
        until: Duration,
    },
}

/// The settings and times that decide when a breaker opens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rules {
    pub(super) settings: BreakerSettings,
    /// The longest that a round trip may take.
    pub(super) deadline: Duration,
    /// The longest that a call may take, connecting included.
    pub(super) longest: Duration,
}

impl Rules {
    /// Returns the rules for an alias with these settings.
    pub(super) fn of(settings: &CacheSettings) -> Self {
        let deadline = settings.deadline.into();
        let longest = settings.connect_deadline.into();
        Self { settings: settings.breaker, deadline, longest: deadline.saturating_add(longest) }
    }

    /// Returns less than the deadline, but enough for a server that answers as slowly as before.
    fn short(&self, slowest: Duration) -> Duration {
        slowest.saturating_mul(2).max(self.shortest()).min(self.deadline)
    }

    fn shortest(&self) -> Duration {
        self.deadline / SHORT
    }

    /// Returns how long calls in a row wait before the breaker opens: one and a half deadlines for
    /// three calls, also if the server was slow before.
    fn patience(&self) -> Duration {
        let later = self.settings.unanswered.saturating_sub(1);
        self.deadline.saturating_add((self.deadline / 4).saturating_mul(later))
    }
}

/// A call that the breaker lets through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    pub(super) began: Duration,
    /// The number of the probe, if the call is a probe.
    pub(super) probe: Option<u64>,
    /// The longest that the call may take.
    pub(super) limit: Option<Duration>,
}

/// A refused call, with the time until the breaker lets a call through.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Option<Duration>);

/// The outcome of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome<'a> {
    Answered,
    /// The server did not answer, or only for some keys of a batch.
    Failed {
        error: &'a Error,
        heard: bool,
    },
    /// The outcome tells nothing about the server.
    Nothing,
}

/// The fraction of the deadline for a probe and for a call after an unanswered call. A single
/// caller thus detects a frozen server within one and a half deadlines, and a probe costs its
/// caller little.
const SHORT: u32 = 5;
/// Every probe with a number divisible by this gets the full time, so that a server that has become
/// slow is found again.
const LONG_PROBE: u64 = 4;

impl State {
    pub(super) fn public(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    /// Returns whether every call is admitted, and with its full time.
    pub(super) fn is_calm(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.silence.calls == 0
    }

    pub(super) fn reason(&self) -> Option<&Error> {
        self.reason.as_ref()
    }

    /// Returns a refusal, with the time until a call is let through, if the breaker refuses calls
    /// now.
    pub(super) fn refuses(&self, now: Duration) -> Option<Refused> {
        match self.phase {
            Phase::Open { until } if now < until => Some(Refused(Some(until.saturating_sub(now)))),
            Phase::Probing { until } if now < until => Some(Refused(None)),
            _ => None,
        }
    }

    pub(super) fn admit(&mut self, now: Duration, rules: &Rules) -> Result<Admitted, Refused> {
        if let Some(refused) = self.refuses(now) {
            return Err(refused);
        }
        if matches!(self.phase, Phase::Closed) {
            self.forget_old_silence(now, rules);
            let limit = (self.silence.calls > 0)
                .then(|| rules.short(self.window.slowest()).min(self.silence.rest(rules)));
            return Ok(Admitted { began: now, probe: None, limit });
        }
        self.probes += 1;
        let is_long = self.probes.is_multiple_of(LONG_PROBE);
        let limit = (!is_long).then(|| rules.short(self.slowest));
        let until = now.saturating_add(limit.unwrap_or(rules.longest));
        self.phase = Phase::Probing { until };
        Ok(Admitted { began: now, probe: Some(self.probes), limit })
    }

    /// Records the outcome of a call; returns whether the state changed.
    pub(super) fn record(
        &mut self,
        call: &Admitted,
        outcome: Outcome<'_>,
        now: Duration,
        rules: &Rules,
    ) -> bool {
        match call.probe {
            Some(number) => self.record_probe(number, call, outcome, now, rules),
            // Late answers of calls from before the breaker opened change nothing.
            None if matches!(self.phase, Phase::Closed) => {
                self.record_call(call, outcome, now, rules)
            }
            None => false,
        }
    }

    fn record_probe(
        &mut self,
        number: u64,
        call: &Admitted,
        outcome: Outcome<'_>,
        now: Duration,
        rules: &Rules,
    ) -> bool {
        // Another call may have become the probe because this probe took too long.
        if number != self.probes || !matches!(self.phase, Phase::Probing { .. }) {
            return false;
        }
        match outcome {
            Outcome::Answered => {
                *self = Self { heard: Some(now), ..Self::default() };
                // The next limited call must have time for a server as slow as this answer.
                let took = now.saturating_sub(call.began);
                self.window.count(now, rules.settings.window.into(), Some(took));
            }
            Outcome::Failed { error, .. } => self.open(now, error, rules),
            // The next call is a probe.
            Outcome::Nothing => self.phase = Phase::Open { until: Duration::ZERO },
        }
        true
    }

    fn record_call(
        &mut self,
        call: &Admitted,
        outcome: Outcome<'_>,
        now: Duration,
        rules: &Rules,
    ) -> bool {
        let took = now.saturating_sub(call.began);
        let window = rules.settings.window.into();
        match outcome {
            Outcome::Nothing => return false,
            Outcome::Answered => {
                (self.heard, self.silence) = (Some(now), Silence::default());
                self.window.count(now, window, Some(took));
                return false;
            }
            Outcome::Failed { heard: true, .. } => {
                (self.heard, self.silence) = (Some(now), Silence::default());
                self.window.count(now, window, None);
            }
            Outcome::Failed { error, .. } => {
                self.window.count(now, window, None);
                // A refused connection fails at once, and may only mean a restart.
                let is_silence = error.kind() == ErrorKind::TimedOut || took >= rules.deadline / 2;
                let heard_meanwhile = self.heard.is_some_and(|it| it > call.began);
                if is_silence && !heard_meanwhile {
                    self.forget_old_silence(now, rules);
                    self.silence.add(call, now, rules);
                }
            }
        }
        let Outcome::Failed { error, .. } = outcome else { return false };
        let opens = self.silence.is_enough(rules) || self.fails_too_often(rules);
        if opens {
            self.open(now, error, rules);
        }
        opens
    }

    /// Resets the count of unanswered calls if the last one is older than the window.
    fn forget_old_silence(&mut self, now: Duration, rules: &Rules) {
        if now.saturating_sub(self.silence.end) > rules.settings.window.into() {
            self.silence = Silence::default();
        }
    }

    fn open(&mut self, now: Duration, error: &Error, rules: &Rules) {
        if matches!(self.phase, Phase::Closed) {
            self.slowest = self.window.slowest();
            self.probes = 0;
        }
        let until = now.saturating_add(rules.settings.open_for.into());
        self.phase = Phase::Open { until };
        self.reason = Some(error.clone());
    }

    fn fails_too_often(&self, rules: &Rules) -> bool {
        let (calls, failures) = self.window.sums();
        #[expect(clippy::cast_precision_loss, reason = "a fraction needs no more than 52 bits")]
        let rate = failures as f64 / calls as f64;
        calls >= u64::from(rules.settings.min_calls) && rate >= rules.settings.failure_rate
    }
}

impl Silence {
    /// Counts an unanswered call that ended now.
    fn add(&mut self, call: &Admitted, now: Duration, rules: &Rules) {
        let waited = now.saturating_sub(call.began.max(self.end));
        self.waited = self.waited.saturating_add(waited.min(rules.deadline));
        self.calls = self.calls.saturating_add(1);
        self.end = now;
    }

    /// Returns how long the next call may wait.
    fn rest(&self, rules: &Rules) -> Duration {
        rules.patience().saturating_sub(self.waited)
    }

    /// Returns whether the server has been given enough time.
    fn is_enough(&self, rules: &Rules) -> bool {
        self.calls >= rules.settings.unanswered
            || (self.calls > 0 && self.rest(rules) < rules.shortest())
    }
}
