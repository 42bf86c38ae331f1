use std::time::Duration;

use serde::Deserialize;

use super::{Call, Reply};
use crate::{
    config::Period,
    error::{Error, ErrorKind},
    runtime::{Clock, first, jitter},
};

/// The settings of retries: the table `[caches.<alias>.retry]`. Not for stores that never wait.
///
/// Idempotent calls that the server did not answer are repeated after random waits that grow,
/// within one deadline.
///
/// A call is repeated if it fails with `Unavailable` or `TimedOut` and a second execution does no
/// harm: reads, and writes that replace the stored value unconditionally. `add`, `replace`, `pop`,
/// `incr`, `update`, `upsert`, and moves between versions are never repeated: if the first answer
/// was lost, a second call would count twice or lose a race against the first. A batch is repeated
/// only if none of its keys was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The maximum number of repetitions of a call. 0 (no repetition) if unset.
    pub retries: u32,
    /// The longest wait before the first repetition; it doubles with each repetition. 10 ms if
    /// unset.
    pub backoff: Period,
    /// The maximum of the longest wait. 100 ms if unset.
    pub max_backoff: Period,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { retries: 0, backoff: Period::from_millis(10), max_backoff: Period::from_millis(100) }
    }
}

impl RetrySettings {
    /// Returns settings with at most `retries` repetitions.
    pub fn times(retries: u32) -> Self {
        Self { retries, ..Self::default() }
    }
}

/// Repeats calls by the settings.
#[derive(Debug)]
pub(super) struct Retry {
    settings: RetrySettings,
    /// The time for all tries of a single-key call together.
    total: Duration,
    clock: Clock,
}

impl Retry {
    pub(super) fn new(settings: RetrySettings, total: Duration, clock: Clock) -> Self {
        Self { settings, total, clock }
    }

    /// Returns whether this call may be repeated.
    pub(super) fn repeats(&self, call: &Call<'_>) -> bool {
        self.settings.retries > 0 && call.idempotent
    }

    /// Runs a call until it is answered, or as often as it may be repeated.
    pub(super) async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: &Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        if !self.repeats(call) {
            return run().await;
        }
        if call.key.is_none() {
            return self.tries(call, run).await;
        }
        let limit = self.clock.sleep(self.total);
        first(self.tries(call, run), limit).await.unwrap_or_else(|| {
            let error = format!("no answer within {:?}, over all tries", self.total);
            R::failed(call, Error::new(ErrorKind::TimedOut, error))
        })
    }

    async fn tries<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: &Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let most = Duration::from(self.settings.max_backoff);
        let mut longest = Duration::from(self.settings.backoff).min(most);
        for _ in 0..self.settings.retries {
            let reply = run().await;
            let unanswered = reply.errors().filter(|it| is_unanswered(it)).count();
            let replies = if call.key.is_some() { 1 } else { call.keys };
            if unanswered == 0 || unanswered < replies {
                return reply;
            }
            self.clock.sleep(jitter(longest)).await;
            longest = longest.saturating_mul(2).min(most);
        }
        run().await
    }
}

fn is_unanswered(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut)
}
