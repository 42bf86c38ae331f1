//! The caller that loads.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

use super::{flight::Flight, permit::Permit, shared::Singleflight, table::Table, wait_graph};
use crate::{
    error::Result,
    runtime::{
        first,
        sync::{Arc, Ordering},
    },
};

/// The right to load a key, and the duty to [`complete`](Self::complete) the flight. If it is
/// dropped before, a waiter leads.
pub(crate) struct Lead {
    pub(super) singleflight: Arc<Singleflight>,
    pub(super) flight: Arc<Flight>,
    is_completed: bool,
}

impl Singleflight {
    /// Begins a flight that no other caller joins and that stores nothing: for a caller that cannot
    /// use the result of the others.
    pub(crate) fn alone(self: &Arc<Self>, key: &str) -> Lead {
        let flight = Flight::new(key, Duration::MAX);
        flight.detach();
        Lead::new(self, flight)
    }
}

impl Lead {
    /// Begins a flight whose load may take `lasts`.
    pub(super) fn begin(
        singleflight: &Arc<Singleflight>,
        table: &mut Table,
        key: &str,
        lasts: Duration,
    ) -> Self {
        let flight = Flight::new(key, singleflight.after(lasts));
        table.flights.insert(key.into(), Arc::clone(&flight));
        singleflight.count(table);
        Self::new(singleflight, flight)
    }

    pub(super) fn new(singleflight: &Arc<Singleflight>, flight: Arc<Flight>) -> Self {
        Self { singleflight: Arc::clone(singleflight), flight, is_completed: false }
    }

    /// Returns whether the loaded value may be stored: the key was not written since the load
    /// began.
    pub(crate) fn stores(&self) -> bool {
        self.flight.stores()
    }

    /// Adds tags of the value: [`Singleflight::detach_tagged`] of one of them detaches the flight.
    pub(crate) fn add_tags(&self, tags: impl Iterator<Item = u64>) {
        self.flight.add_tags(tags);
    }

    /// Lets the load go on without waiters. `guard` is dropped when the load ends.
    pub(crate) fn keep(&self, guard: impl Send + 'static) {
        self.flight.keep(Box::new(guard));
    }

    /// Waits until no caller wants the result of the load. Callers may still join afterwards: the
    /// leader then leaves the load to them when it is dropped.
    pub(crate) async fn unwanted(&self) {
        poll_fn(|cx| self.flight.poll_unwanted(cx)).await;
    }

    /// Runs the loader. A load inside it that would wait for this one returns an error there.
    pub(crate) async fn load<F: Future>(&self, loader: F) -> F::Output {
        let _edge = wait_graph::nest(&self.flight);
        let mut loader = pin!(loader);
        poll_fn(|cx| {
            let _polling = wait_graph::enter(&self.flight);
            loader.as_mut().poll(cx)
        })
        .await
    }

    /// Writes the loaded value, unless the key was written meanwhile. Returns `None` if it was not
    /// written. Other writers of the key wait until `write` ends, at most for `lasts`. If one of
    /// them no longer waits, `write` is not polled any more.
    ///
    /// If `write` is dropped before its end, the value may still reach the store. Then `dropped`
    /// must see to it that [`Singleflight::write_arrived`] is called when it must have.
    pub(crate) async fn store<F: Future>(
        &self,
        write: impl FnOnce() -> F,
        lasts: Duration,
        patience: impl Future<Output = ()>,
        dropped: impl FnOnce(u64),
    ) -> Option<F::Output> {
        let (singleflight, key) = (&self.singleflight, &self.flight.key);
        let began = poll_fn(|cx| {
            let mut table = singleflight.lock();
            // The value of an earlier flight may be on its way: this one must not overtake it.
            if singleflight.poll_arrived(&mut table, key, cx).is_pending() {
                return Poll::Pending;
            }
            if !self.flight.stores() || singleflight.is_being_written(&table, key) {
                return Poll::Ready(None);
            }
            let until = singleflight.after(lasts);
            let (id, permit) = table.begin_write(key, until);
            singleflight.count(&table);
            Poll::Ready(Some((id, permit, until)))
        });
        let (id, permit, until) = first(began, patience).await??;
        let mut pending = PendingWrite { lead: self, id, permit, dropped: Some(dropped) };
        let mut write = pin!(write());
        let res = poll_fn(|cx| {
            // Others no longer wait for it: it would overwrite what they wrote.
            if until <= singleflight.now() {
                return Poll::Ready(Ok(None));
            }
            let Some(_step) = pending.step() else { return Poll::Ready(Err(Revoked)) };
            write.as_mut().poll(cx).map(|it| Ok(Some(it)))
        })
        .await;
        if res.is_ok() {
            pending.dropped = None;
        }
        singleflight.stripe(key).write_epoch.fetch_add(1, Ordering::SeqCst);
        res.ok().flatten()
    }

    /// Notes that the store has the loaded value.
    pub(crate) fn set_stored(&self) {
        self.flight.set_stored();
    }

    /// Passes the result to all callers that wait.
    pub(crate) fn complete(mut self, result: Result<Bytes>) {
        self.is_completed = true;
        // Out of the table first: later callers find the value in the store.
        self.singleflight.remove(&self.flight);
        self.flight.complete(result);
        // `drop` frees the guard.
    }
}

/// The load ended, or the leader was dropped or panicked.
impl Drop for Lead {
    fn drop(&mut self) {
        if !self.is_completed && self.flight.abandon() {
            self.singleflight.remove_abandoned(&self.flight);
        }
        self.flight.drop_guard();
    }
}

/// Another writer of the key waited for the write in vain, and it ends before its end.
pub(super) struct Revoked;

/// A loaded value on its way to the store.
pub(super) struct PendingWrite<'a, D: FnOnce(u64)> {
    pub(super) lead: &'a Lead,
    pub(super) id: u64,
    pub(super) permit: Arc<Permit>,
    /// Until the write ends.
    pub(super) dropped: Option<D>,
}

impl<D: FnOnce(u64)> PendingWrite<'_, D> {
    /// Begins a poll of the write; `None` if it was revoked.
    pub(super) fn step(&self) -> Option<Step<'_>> {
        self.permit.begin().then_some(Step { lead: self.lead, permit: &self.permit })
    }
}

/// One poll of the write of a loaded value.
pub(super) struct Step<'a> {
    lead: &'a Lead,
    permit: &'a Permit,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if self.permit.end() {
            self.lead.singleflight.wake_waiting(&self.lead.flight.key);
        }
    }
}

impl<D: FnOnce(u64)> Drop for PendingWrite<'_, D> {
    fn drop(&mut self) {
        match self.dropped.take() {
            Some(dropped) => dropped(self.id),
            None => self.lead.singleflight.write_arrived(&self.lead.flight.key, self.id),
        }
    }
}
