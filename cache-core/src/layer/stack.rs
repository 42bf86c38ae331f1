use std::{fmt, sync::Arc, time::Duration};

use super::{Breaker, Call, Layer, Reply, deadline::Deadline, retry::Retry};
use crate::telemetry::observer::Observer;

/// The layers of an alias, in the order observe(breaker(retry(deadline(store)))).
///
/// It is one layer instead of four, because each future inside another one costs every call time
/// and room.
pub(super) struct Stack {
    /// The name of the store.
    pub(super) backend: &'static str,
    pub(super) observer: Observer,
    /// The circuit breaker of a store with one server.
    pub(super) breaker: Option<Arc<Breaker>>,
    pub(super) retry: Retry,
    pub(super) deadline: Deadline,
}

impl Layer for Stack {
    // Not async: an async function keeps its arguments twice in the future of the call.
    fn around<R: Reply, F: Future<Output = R> + Send + Unpin>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = R> + Send {
        self.observer.in_call(self.backend, call, move || async move {
            let admitted = self.breaker.as_ref().map_or(Ok(None), |it| it.admit_call(&call));
            let permit = match admitted {
                Ok(permit) => permit,
                Err(error) => return R::failed(&call, error),
            };
            let shortened = permit.as_ref().and_then(|it| it.limit(&call));
            let limited = || self.deadline.around(&call, &run);
            let reply = if shortened.is_none() && !self.retry.repeats(&call) {
                limited().await
            } else {
                // Boxed because it is rare: it would enlarge the future of every call.
                Box::pin(self.repeated(&call, shortened, limited)).await
            };
            if let Some(permit) = permit {
                permit.record_reply(&call, &reply);
            }
            reply
        })
    }

    /// A store that never waits needs none of them.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

impl Stack {
    /// Runs a call that may be repeated, all tries within the shortened time.
    async fn repeated<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: &Call<'_>,
        shortened: Option<Duration>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let repeated = self.retry.around(call, run);
        match self.breaker.as_ref().zip(shortened) {
            Some((breaker, limit)) => breaker.reply_within(limit, call, repeated).await,
            None => repeated.await,
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("breaker", &self.breaker)
            .field("retry", &self.retry)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
