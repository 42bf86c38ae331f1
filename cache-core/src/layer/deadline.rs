use std::{pin::pin, time::Duration};

use super::{Call, Layer, Operation, Reply};
use crate::{
    error::{Error, ErrorKind},
    runtime::{Clock, SharedDeadline, first},
    store::threads::was_behind_others,
};

/// A [`Layer`] that ends calls with `TimedOut` if they take too long. The outcome of such a call is
/// unknown.
///
/// A call with one key may take the given time. A batch may take it once per 1000 keys, and a
/// `set_many` once per 4 MiB of values if that is longer. `clear`, `clear_store`, `check` and
/// `close` have no limit. The first call of a store may also connect
/// ([`Capabilities::connects`](crate::store::Capabilities::connects)): every call of such a store
/// may also take the time to connect, because only the store knows whether it connects.
///
/// The circuit breaker counts such a `TimedOut` as a failure, unless the call still waited for one
/// of the store's [`Threads`](crate::store::Threads) while the threads answered other calls.
#[derive(Debug)]
pub struct Deadline {
    time: Duration,
    connect: Duration,
    clock: Clock,
    /// The limit of calls for which one round trip is enough, which are nearly all.
    of_most: SharedDeadline,
}

impl Deadline {
    /// Allows `time` for a round trip, plus `connect` (zero for a store that does not connect).
    pub fn new(time: Duration, connect: Duration, clock: Clock) -> Self {
        let of_most = SharedDeadline::new(time.saturating_add(connect), clock.clone());
        Self { time, connect, clock, of_most }
    }

    fn limit(&self, call: &Call<'_>) -> Option<Duration> {
        match call.operation {
            Operation::Clear | Operation::ClearStore | Operation::Check | Operation::Close => None,
            _ => Some(self.time.saturating_mul(call.rounds()).saturating_add(self.connect)),
        }
    }
}

impl Layer for Deadline {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let Some(limit) = self.limit(&call) else { return pin!(run()).await };
        let mut running = pin!(Some(run()));
        // panics: never, only the code below sets it to `None`.
        let answer = running.as_mut().as_pin_mut().expect("the call exists");
        let answer = if limit == self.of_most.time() {
            self.of_most.run(answer).await
        } else {
            Box::pin(first(answer, self.clock.sleep(limit))).await
        };
        answer.unwrap_or_else(|| {
            let is_behind_others = was_behind_others(|| running.set(None));
            R::failed(&call, no_answer(limit, is_behind_others))
        })
    }

    /// A store that never waits needs no deadline.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[cold]
fn no_answer(limit: Duration, is_behind_others: bool) -> Error {
    let what = if is_behind_others { "no thread was free" } else { "no answer" };
    let text = format!("{what} within {limit:?}; a write may have had its effect");
    let error = Error::new(ErrorKind::TimedOut, text);
    if is_behind_others { error.ignored_by_breaker() } else { error }
}
