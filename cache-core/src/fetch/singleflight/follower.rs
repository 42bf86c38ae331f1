//! Those who wait for another's load.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

use super::{Flight, Flights, Lead, Phase, wait_graph};
use crate::{error::Result, runtime::sync::Arc};

/// A place among those who wait for a flight.
pub(crate) struct Wait<'a> {
    pub(super) flights: &'a Flights,
    pub(super) flight: Arc<Flight>,
    pub(super) id: u64,
    /// How long a load takes at the most, if this caller leads.
    pub(super) lasts: Duration,
    /// This caller is itself inside a loader, which now depends on the flight.
    pub(super) edge: Option<wait_graph::Edge>,
}

/// How waiting ended.
pub(crate) enum Waited<'a> {
    /// The leader's result.
    Landed(Result<Bytes>),
    /// The leader is gone: this caller leads.
    Lead(Lead<'a>),
    /// The flight is over without a result for this caller: begin anew.
    Rejoin,
}

impl<'a> Wait<'a> {
    /// Until when the leader has time. After it, [`Flights::join`] gives another leader.
    pub(crate) fn until(&self) -> Duration {
        self.flight.lock().until
    }

    /// Waits for the flight's end.
    pub(crate) async fn outcome(&mut self) -> Waited<'a> {
        poll_fn(|cx| {
            let mut state = self.flight.lock();
            match (&state.phase, state.detached) {
                (Phase::Led, _) => {
                    state.waiters.insert(self.id, cx.waker().clone());
                    Poll::Pending
                }
                (Phase::Landed(result), _) => Poll::Ready(Waited::Landed(result.clone())),
                // Nobody would store it, and the next flight may already be there.
                (Phase::Abandoned, true) => Poll::Ready(Waited::Rejoin),
                (Phase::Abandoned, false) => {
                    state.phase = Phase::Led;
                    state.until = self.flights.after(self.lasts);
                    Poll::Ready(Waited::Lead(Lead {
                        flights: self.flights,
                        flight: Arc::clone(&self.flight),
                        landed: false,
                    }))
                }
            }
        })
        .await
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.flight.lock();
        state.waiters.remove(&self.id);
        let nobody = matches!(state.phase, Phase::Abandoned) && state.waiters.is_empty();
        drop(state);
        if nobody {
            self.flights.remove_abandoned(&self.flight);
        }
    }
}

/// The first future's output, or `None` if the second ends before it.
pub(crate) async fn first<F: Future>(
    future: F,
    limit: impl Future<Output = ()>,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut limit = pin!(limit);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(res) => Poll::Ready(Some(res)),
        Poll::Pending => limit.as_mut().poll(cx).map(|()| None),
    })
    .await
}
