//! The flights and writes of one alias, by key. The table is behind one lock.

use std::{
    collections::HashMap,
    mem,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{claims::Claims, flight::Flight, permit::Permit};
use crate::runtime::sync::Arc;

#[derive(Default)]
pub(super) struct Table {
    /// The flights that callers can join.
    pub(super) flights: HashMap<Box<str>, Arc<Flight>>,
    /// Loaded values on their way to the store.
    pending_writes: HashMap<Box<str>, PendingWrite>,
    /// The writes by callers.
    pub(super) claims: Claims,
    next_write: u64,
}

/// A loaded value on its way to the store.
struct PendingWrite {
    /// Distinguishes it from a later one of the same key.
    id: u64,
    permit: Arc<Permit>,
    until: Duration,
    waiting: Vec<Waker>,
}

impl PendingWrite {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|it| it.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }

    /// Revokes the write. Is ready when it is not being polled: it takes effect no more, unless a
    /// server has the value already.
    fn poll_revoked(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.permit.revoke() {
            self.wait(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Table {
    /// Returns the number of flights and pending writes.
    pub(super) fn active(&self) -> usize {
        self.flights.len() + self.pending_writes.len()
    }

    /// Returns the number of keys with a flight or a pending write.
    pub(super) fn loads(&self) -> usize {
        let alone = self.pending_writes.keys().filter(|it| !self.flights.contains_key(*it));
        self.flights.len() + alone.count()
    }

    /// Removes this flight, unless another one of the same key has replaced it.
    pub(super) fn remove(&mut self, flight: &Arc<Flight>) {
        if self.flights.get(&flight.key).is_some_and(|it| Arc::ptr_eq(it, flight)) {
            self.flights.remove(&flight.key);
        }
    }

    /// Detaches the flight of a key. Returns whether a loaded value of the key is on its way.
    pub(super) fn detach(&mut self, key: &str) -> bool {
        if let Some(flight) = self.flights.remove(key) {
            flight.detach();
        }
        self.pending_writes.contains_key(key)
    }

    /// Detaches the flights of values with one of these tags.
    pub(super) fn detach_tagged(&mut self, tags: &[u64]) {
        for (_, flight) in self.flights.extract_if(|_, it| it.has_tag(tags)) {
            flight.detach();
        }
    }

    /// Detaches all flights. Returns the keys whose loaded values are on their way.
    pub(super) fn detach_all(&mut self) -> Vec<Box<str>> {
        for flight in mem::take(&mut self.flights).into_values() {
            flight.detach();
        }
        self.pending_writes.keys().cloned().collect()
    }

    /// Begins the write of a loaded value. Returns its number and its permit.
    pub(super) fn begin_write(&mut self, key: &str, until: Duration) -> (u64, Arc<Permit>) {
        self.next_write += 1;
        let (id, permit) = (self.next_write, Arc::new(Permit::default()));
        let write = PendingWrite { id, permit: Arc::clone(&permit), until, waiting: Vec::new() };
        self.pending_writes.insert(key.into(), write);
        (id, permit)
    }

    /// Ends the write of a loaded value, if it has this number. Returns the callers that wait.
    pub(super) fn end_write(&mut self, key: &str, id: u64) -> Vec<Waker> {
        if self.pending_writes.get(key).is_none_or(|it| it.id != id) {
            return Vec::new();
        }
        self.pending_writes.remove(key).map_or_else(Vec::new, |it| it.waiting)
    }

    /// Is ready when no loaded value of the key is on its way to the store.
    pub(super) fn poll_arrived(&mut self, key: &str, now: Duration, cx: &Context<'_>) -> Poll<()> {
        let Some(write) = self.pending_writes.get_mut(key) else { return Poll::Ready(()) };
        if now < write.until {
            write.wait(cx);
            return Poll::Pending;
        }
        if write.poll_revoked(cx).is_pending() {
            return Poll::Pending;
        }
        let waiting = mem::take(&mut write.waiting);
        self.pending_writes.remove(key);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }

    /// Revokes the write of a loaded value of the key. Is ready when it is not being polled.
    pub(super) fn poll_revoked(&mut self, key: &str, cx: &Context<'_>) -> Poll<()> {
        self.pending_writes.get_mut(key).map_or(Poll::Ready(()), |it| it.poll_revoked(cx))
    }

    /// Takes the callers that wait for a loaded value of the key.
    pub(super) fn take_waiting(&mut self, key: &str) -> Vec<Waker> {
        self.pending_writes.get_mut(key).map_or_else(Vec::new, |it| mem::take(&mut it.waiting))
    }
}
