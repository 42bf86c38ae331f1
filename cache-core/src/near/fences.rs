//! The fences that keep old values out of the near store.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The number of stripes. A write keeps the keys of its stripe from being filled while it runs.
const STRIPES: usize = 1024;

/// The fences of all keys, in stripes by the hash of the key.
///
/// A fill takes a [`Ticket`] before it reads the far store. A write, and an invalidation, advance
/// the epoch of the stripe and remove the near entry; a write does so before it is sent and again
/// when it has ended. The fill stores what it read only if the epoch is that of its ticket and no
/// write runs. All of it happens under the lock of the stripe, so no reader can see an entry that
/// is removed afterwards. Hits take no lock.
#[derive(Debug)]
pub(super) struct Fences {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
pub(super) struct Stripe {
    epoch: u64,
    /// How many writes run.
    writes: usize,
    /// Until when nothing is filled, because the outcome of a write is unknown: it may still take
    /// effect.
    unknown_until: Duration,
}

/// The right to fill a key if its stripe does not change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    stripe: usize,
    epoch: u64,
    /// The generation of the tier.
    pub(super) generation: u64,
    /// When the read began.
    pub(super) began: Duration,
}

impl Fences {
    pub(super) fn new() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes, hasher: RandomState::new() }
    }

    /// Returns the stripe of a key.
    pub(super) fn stripe_of(&self, key: &str) -> usize {
        usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).unwrap_or_default()
    }

    /// Returns a ticket for a read that begins now; `None` while a write of the stripe runs, or if
    /// its outcome is unknown.
    pub(super) fn ticket(&self, key: &str, generation: u64, now: Duration) -> Option<Ticket> {
        let stripe = self.stripe_of(key);
        let state = self.lock(stripe);
        (state.writes == 0 && state.unknown_until <= now).then_some(Ticket {
            stripe,
            epoch: state.epoch,
            generation,
            began: now,
        })
    }

    /// Runs `fill` if nothing has changed since the ticket.
    pub(super) fn fill(&self, ticket: &Ticket, fill: impl FnOnce()) {
        let state = self.lock(ticket.stripe);
        if state.epoch == ticket.epoch && state.writes == 0 {
            fill();
        }
    }

    /// Advances the epoch of a stripe, and runs `change` before another fill or write.
    pub(super) fn change(&self, stripe: usize, change: impl FnOnce(&mut Stripe)) {
        let mut state = self.lock(stripe);
        state.epoch += 1;
        change(&mut state);
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        // Every index comes from `stripe_of`.
        self.stripes[stripe % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stripe {
    pub(super) fn begin_write(&mut self) {
        self.writes += 1;
    }

    pub(super) fn end_write(&mut self) {
        self.writes = self.writes.saturating_sub(1);
    }

    pub(super) fn forbid_fills(&mut self, until: Duration) {
        self.unknown_until = self.unknown_until.max(until);
    }
}
