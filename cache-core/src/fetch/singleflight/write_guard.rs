//! Those who write a key themselves.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::Flights;
use crate::runtime::sync::Ordering;

/// A key is being written by its user: no flight stores it.
pub(crate) struct Writing<'a> {
    pub(super) flights: &'a Flights,
    pub(super) key: &'a str,
    /// When the claim ends, of a write that may have to wait.
    pub(super) until: Option<Duration>,
}

impl Writing<'_> {
    /// The write waits for something, so its future may be put aside: from now on it has an end in time.
    pub(crate) fn may_wait(&mut self, lasts: Duration) {
        if self.until.is_some() {
            return;
        }
        let until = self.flights.after(lasts);
        let mut table = self.flights.lock();
        table.writing.entry(self.key.into()).or_default().push(until);
        drop(table);
        self.flights.stripe(self.key).writers.fetch_sub(1, Ordering::SeqCst);
        self.until = Some(until);
    }

    /// Makes the write; `None` if the time of the claim ends before. What was put aside for longer is not polled any more, because a
    /// write that began now would be unknown to the flights of the key.
    pub(crate) async fn run<F: Future>(&self, write: F) -> Option<F::Output> {
        let mut write = pin!(write);
        poll_fn(|cx| match self.until {
            Some(until) if until <= self.flights.now() => Poll::Ready(None),
            _ => write.as_mut().poll(cx).map(Some),
        })
        .await
    }
}

/// The write is over.
impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Self { flights, key, until } = *self;
        let stripe = flights.stripe(key);
        // First this: a flight that begins from now on reads again, one that began before is detached.
        stripe.landings.fetch_add(1, Ordering::SeqCst);
        if flights.active() > 0 {
            flights.detach_now(key);
        }
        let Some(until) = until else {
            stripe.writers.fetch_sub(1, Ordering::SeqCst);
            return;
        };
        let mut table = flights.lock();
        let Some(claims) = table.writing.get_mut(key) else { return };
        // Claims that end at the same moment are alike.
        if let Some(place) = claims.iter().position(|it| *it == until) {
            claims.swap_remove(place);
        }
        if claims.is_empty() {
            table.writing.remove(key);
        }
    }
}
