use std::{pin::pin, time::Duration};

use serde::Deserialize;

use super::{Call, Layer, Reply};
use crate::{
    config::Period,
    error::{Error, ErrorKind},
    runtime::{Clock, first, jitter},
};

/// Repeats idempotent calls that the server did not answer, after growing random waits, all within one deadline.
///
/// Repeated is what fails with `Unavailable` or `TimedOut` and does no harm twice: reads, and writes that replace
/// whatever is there. `add`, `replace`, `pop`, `incr`, `update`, `upsert`, and moves between versions never are: when the first
/// answer was lost, a second call would count twice, or lose a race against the first. A batch is repeated when none of its keys
/// was answered.
#[derive(Debug)]
pub struct Retry {
    settings: RetrySettings,
    /// For all tries of a single-key call together.
    total: Duration,
    clock: Clock,
}

/// The settings of [`Retry`]: the table `[caches.<alias>.retry]`. Stores that never wait have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RetrySettings {
    /// How many times a call is repeated at the most. 0, which is never, if unset.
    pub retries: u32,
    /// The longest wait before the first repetition; it doubles with each. 10 ms if unset.
    pub backoff: Period,
    /// The longest wait. 100 ms if unset.
    pub max_backoff: Period,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { retries: 0, backoff: Period::from_millis(10), max_backoff: Period::from_millis(100) }
    }
}

impl RetrySettings {
    /// So many repetitions at the most.
    pub fn times(retries: u32) -> Self {
        Self { retries, ..Self::default() }
    }
}

impl Retry {
    /// With `total` for all tries of a single-key call together.
    pub fn new(settings: RetrySettings, total: Duration, clock: Clock) -> Self {
        Self { settings, total, clock }
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
            if unanswered == 0 || unanswered < call.keys {
                return reply;
            }
            self.clock.sleep(jitter(longest)).await;
            longest = longest.saturating_mul(2).min(most);
        }
        run().await
    }
}

impl Layer for Retry {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        if !call.idempotent || self.settings.retries == 0 {
            return pin!(run()).await;
        }
        if call.key.is_none() {
            return Box::pin(self.tries(&call, run)).await;
        }
        let limit = self.clock.sleep(self.total);
        Box::pin(first(self.tries(&call, run), limit)).await.unwrap_or_else(|| {
            let error = format!("no answer within {:?}, over all tries", self.total);
            R::failed(&call, Error::new(ErrorKind::TimedOut, error))
        })
    }

    /// What never waits has nothing to wait for.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

fn is_unanswered(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut)
}
