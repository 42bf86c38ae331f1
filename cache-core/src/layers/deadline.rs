use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use super::{Call, Hook, Operation, Reply};
use crate::{Clock, Error, ErrorKind};

/// Ends calls that take too long with `TimedOut`; their outcome is unknown.
///
/// A call with one key has the time given; a batch has it once for every thousand keys that it has begun;
/// `clear`, `clear_store`, `check` and `close` take as long as they take. A store whose first call connects
/// ([`Capabilities::connects`](crate::Capabilities::connects)) has the time to connect on top, because only
/// the store can tell the one from the other.
#[derive(Debug)]
pub struct Deadline {
    time: Duration,
    connect: Duration,
    clock: Clock,
}

/// How many keys a store may be expected to read or write in one round trip.
const KEYS_PER_ROUND_TRIP: usize = 1000;

impl Deadline {
    /// At most `time` for a round trip, and `connect` (zero for a store that does not) before it.
    pub fn new(time: Duration, connect: Duration, clock: Clock) -> Self {
        Self { time, connect, clock }
    }

    fn limit(&self, call: &Call<'_>) -> Option<Duration> {
        match call.operation {
            Operation::Clear | Operation::ClearStore | Operation::Check | Operation::Close => None,
            _ => {
                let rounds = call.keys.div_ceil(KEYS_PER_ROUND_TRIP).max(1);
                let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
                Some(self.time.saturating_mul(rounds).saturating_add(self.connect))
            }
        }
    }
}

impl Hook for Deadline {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let Some(limit) = self.limit(&call) else { return run().await };
        let mut answer = pin!(run());
        let mut over = pin!(self.clock.sleep(limit));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => over.as_mut().poll(cx).map(|()| {
                let error = format!("no answer within {limit:?}; a write may have had its effect");
                R::failed(&call, Error::new(ErrorKind::TimedOut, error))
            }),
        })
        .await
    }

    /// A store that never waits needs no deadline.
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}
