//! The one who loads.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

use super::{Flight, Flights, Phase, Store, first, wait_graph::Circles};
use crate::{
    error::Result,
    runtime::sync::{Arc, Ordering},
};

/// The right to load a key, and the duty to [`land`](Self::land). Dropped before that, it goes to a waiter.
pub(crate) struct Lead<'a> {
    pub(super) flights: &'a Flights,
    pub(super) flight: Arc<Flight>,
    pub(super) landed: bool,
}

impl Lead<'_> {
    /// Runs the loader. A load inside it that would wait for this one is an error there.
    pub(crate) async fn load<F: Future>(&self, loader: F) -> F::Output {
        let _edge = Circles::lead(&self.flight);
        let mut loader = pin!(loader);
        poll_fn(|cx| {
            let _inside = Circles::enter(&self.flight);
            loader.as_mut().poll(cx)
        })
        .await
    }

    /// Writes the loaded value, unless the key was written meanwhile; `None` if it was not written. Until
    /// `write` is over, but not for longer than it `lasts` at the most, others who want to write the key wait. If it is
    /// dropped before, it may still arrive: then `dropped` is called, to see that [`Flights::stored`] is when it must have.
    pub(crate) async fn store<F: Future>(
        &self,
        write: impl FnOnce() -> F,
        lasts: Duration,
        patience: impl Future<Output = ()>,
        dropped: impl FnOnce(u64),
    ) -> Option<F::Output> {
        let key = &self.flight.key;
        let (mut id, mut until) = (0, Duration::ZERO);
        let entered = poll_fn(|cx| {
            let mut table = self.flights.lock();
            // An earlier flight's value may be on its way; overtaking it would leave the older one.
            if self.flights.poll_stored(&mut table, key, cx).is_pending() {
                return Poll::Pending;
            }
            let mut detached = self.flight.lock().detached;
            detached |= self.flights.is_being_written(&table, key);
            if !detached {
                table.next_store += 1;
                id = table.next_store;
                until = self.flights.after(lasts);
                table.storing.insert(key.clone(), Store { id, until, waiting: Vec::new() });
                self.flights.count(&table);
            }
            Poll::Ready(!detached)
        });
        if first(entered, patience).await != Some(true) {
            return None;
        }
        let mut storing = Storing { lead: self, id, dropped: Some(dropped) };
        let mut write = pin!(write());
        let res = poll_fn(|cx| {
            // Put aside for so long that others do not wait any more: it would overwrite what they wrote.
            if until <= self.flights.now() {
                return Poll::Ready(None);
            }
            write.as_mut().poll(cx).map(Some)
        })
        .await;
        storing.dropped = None;
        self.flights.stripe(key).landings.fetch_add(1, Ordering::SeqCst);
        res
    }

    /// Hands the result to all who wait.
    pub(crate) fn land(mut self, result: Result<Bytes>) {
        self.landed = true;
        // Out of the table first: who comes now reads the store, where the value is.
        self.flights.remove(&self.flight);
        let mut state = self.flight.lock();
        // Those who wait for a flight that was taken over are in the next one.
        if matches!(state.phase, Phase::Led) {
            state.phase = Phase::Landed(result);
        }
        state.wake_all();
    }
}

/// The leader was dropped or panicked.
impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        let mut state = self.flight.lock();
        state.phase = Phase::Abandoned;
        state.wake_all();
        let nobody = state.waiters.is_empty();
        drop(state);
        if nobody {
            self.flights.remove_abandoned(&self.flight);
        }
    }
}

/// A loaded value is on its way to the store.
struct Storing<'a, 'b, D: FnOnce(u64)> {
    lead: &'a Lead<'b>,
    id: u64,
    /// Until the write is over.
    dropped: Option<D>,
}

impl<D: FnOnce(u64)> Drop for Storing<'_, '_, D> {
    fn drop(&mut self) {
        match self.dropped.take() {
            Some(dropped) => dropped(self.id),
            None => self.lead.flights.stored(&self.lead.flight.key, self.id),
        }
    }
}
