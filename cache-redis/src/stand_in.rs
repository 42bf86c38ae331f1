//! Another connection for the keys of a connection that the server does not accept.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use cache_net::Attempt;

/// The connection in use for the keys of one connection.
#[derive(Debug)]
pub(crate) struct StandIn {
    own: usize,
    number: AtomicUsize,
    leaving: Mutex<Leaving>,
}

#[derive(Debug, Default)]
struct Leaving {
    /// The number of moves to another connection, and of calls on it.
    stay: u64,
    /// All calls wait for this before the keys return, so that no command on the own connection
    /// overtakes a command on the other connection.
    completed: Option<Attempt<()>>,
}

impl StandIn {
    pub(crate) fn new(own: usize) -> Self {
        Self { own, number: AtomicUsize::new(own), leaving: Mutex::default() }
    }

    /// Returns the number of the connection that the keys use: another connection or their own.
    pub(crate) fn number(&self) -> usize {
        self.number.load(Ordering::Acquire)
    }

    /// Moves the keys to another connection. Returns false if they have already moved.
    pub(crate) fn take(&self, other: usize) -> bool {
        let mut leaving = self.lock();
        if self.number() != self.own {
            return false;
        }
        leaving.stay += 1;
        self.number.store(other, Ordering::Release);
        true
    }

    /// Notes that a call uses the other connection. Returns false if the keys have left it.
    ///
    /// An attempt that began before does not cover this call, so the keys do not return with it.
    pub(crate) fn used(&self, number: usize) -> bool {
        let mut leaving = self.lock();
        if self.number() != number {
            return false;
        }
        leaving.stay += 1;
        leaving.completed = None;
        true
    }

    /// Returns the attempt that must finish before the keys return to their own connection, and the
    /// number of the move. The first call starts the attempt with `begin`. Returns `None` if the
    /// keys have left this connection.
    pub(crate) fn completed(
        &self,
        number: usize,
        begin: impl FnOnce() -> Attempt<()>,
    ) -> Option<(u64, Attempt<()>)> {
        let mut leaving = self.lock();
        if self.number() != number {
            return None;
        }
        let completed = leaving.completed.get_or_insert_with(begin).clone();
        Some((leaving.stay, completed))
    }

    /// Returns the keys to their own connection, if this is still the same move. All commands on
    /// the other connection must be complete.
    pub(crate) fn end(&self, stay: u64) {
        let mut leaving = self.lock();
        if leaving.stay == stay {
            leaving.completed = None;
            self.number.store(self.own, Ordering::Release);
        }
    }

    /// Lets the next call start a new attempt to end this move.
    pub(crate) fn stay(&self, stay: u64) {
        let mut leaving = self.lock();
        if leaving.stay == stay {
            leaving.completed.take_if(|it| it.is_finished());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Leaving> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
