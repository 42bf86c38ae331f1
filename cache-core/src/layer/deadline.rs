use std::time::Duration;

use super::{Call, Reply};
use crate::{
    error::{Error, ErrorKind},
    runtime::{Clock, SharedDeadline},
    store::threads::was_behind_others,
};

/// Ends calls with `TimedOut` if they take too long. The outcome of such a call is unknown.
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
pub(super) struct Deadline {
    time: Duration,
    connect: Duration,
    /// The limit of calls for which one round trip is enough, which are nearly all.
    of_most: SharedDeadline,
}

impl Deadline {
    /// Allows `time` for a round trip, plus `connect` (zero for a store that does not connect).
    pub(super) fn new(time: Duration, connect: Duration, clock: Clock) -> Self {
        Self { time, connect, of_most: SharedDeadline::new(time.saturating_add(connect), clock) }
    }

    /// Runs a call within its limit.
    pub(super) async fn around<R: Reply, F: Future<Output = R> + Send + Unpin>(
        &self,
        call: &Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        if call.is_unlimited() {
            return run().await;
        }
        let limit = match call.rounds() {
            1 => self.of_most.time(),
            rounds => self.time.saturating_mul(rounds).saturating_add(self.connect),
        };
        let mut running = run();
        self.of_most.limit(limit, &mut running).await.unwrap_or_else(|| {
            let is_behind_others = was_behind_others(|| drop(running));
            R::failed(call, no_answer(limit, is_behind_others))
        })
    }
}

#[cold]
fn no_answer(limit: Duration, is_behind_others: bool) -> Error {
    let what = if is_behind_others { "no thread was free" } else { "no answer" };
    let text = format!("{what} within {limit:?}; a write may have had its effect");
    let error = Error::new(ErrorKind::TimedOut, text);
    if is_behind_others { error.ignored_by_breaker() } else { error }
}
