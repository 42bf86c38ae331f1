//! The tries of a change by compare-and-set: one after the other in this process, within one
//! deadline.

use std::time::Duration;

use super::{Cache, Shared};
use crate::{
    consistency::update_queue::Turn,
    error::{Error, ErrorKind, Result},
    runtime::{first, jitter},
    value::Form,
};

/// The limits of the random wait between tries: `FIRST_WAIT` after the second conflict, doubled
/// with each further conflict up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The tries of one change of a key.
pub(super) struct Tries<'a> {
    shared: &'a Shared,
    end: Duration,
    longest: Duration,
    /// `None` for a store that never waits, and for loads, which run one at a time anyway.
    _turn: Option<Turn<'a>>,
}

impl<V: Form> Cache<V> {
    /// Waits for the turn of this call to change the key.
    ///
    /// # Errors
    /// `TimedOut` if the turn does not come within the deadline of one call.
    pub(super) async fn turn<'a>(&'a self, key: &'a str) -> Result<Tries<'a>> {
        let clock = &self.shared.clock;
        let tries = self.tries();
        // A try that begins shortly before the deadline of its caller is not disturbed by the next
        // caller at once.
        let shortest = self.shared.write_patience / 4;
        let turn = self.shared.updates.take(key, tries.end, shortest, clock);
        let turn = first(turn, clock.sleep(self.shared.write_patience)).await;
        Ok(Tries { _turn: Some(turn.ok_or_else(too_many)?), ..tries })
    }

    /// Begins the tries of a call that needs no turn.
    pub(super) fn tries(&self) -> Tries<'_> {
        let shared = &*self.shared;
        let end = shared.clock.now().saturating_add(shared.write_patience);
        // The first conflict may be a single write, so the first retry follows at once.
        Tries { shared, end, longest: Duration::ZERO, _turn: None }
    }
}

impl Tries<'_> {
    /// Begins a try. It is not cut off at the deadline: each call of the store has its own
    /// deadline, which the circuit breaker counts.
    ///
    /// # Errors
    /// `TimedOut` after the deadline.
    pub(super) fn begin(&self) -> Result<()> {
        if self.shared.clock.now() >= self.end { Err(too_many()) } else { Ok(()) }
    }

    /// Waits after a conflict.
    pub(super) async fn wait(&mut self) {
        let clock = &self.shared.clock;
        let left = self.end.saturating_sub(clock.now());
        if !self.longest.is_zero() && !left.is_zero() {
            clock.sleep(jitter(self.longest).min(left)).await;
        }
        self.longest = (self.longest * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
    }
}

#[cold]
fn too_many() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "too many concurrent updates of this key, or a slow store; nothing was stored",
    )
    .ignored_by_breaker()
}
