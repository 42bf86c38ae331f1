//! Which connection the keys of another one take while the server does not let that one in.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use cache_net::Attempt;

/// Of the keys of one connection.
#[derive(Debug)]
pub(crate) struct StandIn {
    own: usize,
    number: AtomicUsize,
    leaving: Mutex<Leaving>,
}

#[derive(Debug, Default)]
struct Leaving {
    /// How often the keys have moved to another connection.
    stay: u64,
    /// All calls wait for it, so that nothing is sent on the stand-in behind it.
    settled: Option<Attempt<()>>,
}

impl StandIn {
    pub(crate) fn new(own: usize) -> Self {
        Self { own, number: AtomicUsize::new(own), leaving: Mutex::default() }
    }

    /// The number of the connection that the keys take: another one, or their own.
    pub(crate) fn number(&self) -> usize {
        self.number.load(Ordering::Acquire)
    }

    /// Moves the keys to another connection. Returns false if they have moved already.
    pub(crate) fn take(&self, other: usize) -> bool {
        let mut leaving = self.lock();
        if self.number() != self.own {
            return false;
        }
        leaving.stay += 1;
        self.number.store(other, Ordering::Release);
        true
    }

    /// What all wait for before the keys go back, begun by the first call, and which stay is meant. Nothing if the keys have left
    /// this connection.
    pub(crate) fn settled(
        &self,
        number: usize,
        begin: impl FnOnce() -> Attempt<()>,
    ) -> Option<(u64, Attempt<()>)> {
        let mut leaving = self.lock();
        if self.number() != number {
            return None;
        }
        let settled = leaving.settled.get_or_insert_with(begin).clone();
        Some((leaving.stay, settled))
    }

    /// Has the keys go back from this stay: all that was sent is done.
    pub(crate) fn end(&self, stay: u64) {
        let mut leaving = self.lock();
        if leaving.stay == stay {
            leaving.settled = None;
            self.number.store(self.own, Ordering::Release);
        }
    }

    /// Has the next call try anew to end this stay.
    pub(crate) fn stay(&self, stay: u64) {
        let mut leaving = self.lock();
        if leaving.stay == stay {
            leaving.settled.take_if(|it| it.is_finished());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Leaving> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
