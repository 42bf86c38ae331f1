//! A caller that waits for another's load.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;

use super::{
    flight::{Flight, Step},
    leader::Lead,
    shared::Singleflight,
    wait_graph::{self, Edge},
};
use crate::{error::Result, runtime::sync::Arc};

/// The role of a caller that missed a key.
pub(crate) enum Joined {
    /// It loads the value.
    Lead(Lead),
    /// It waits for another caller's load.
    Wait(Wait),
}

/// The place of one caller among those that wait for a flight.
pub(crate) struct Wait {
    singleflight: Arc<Singleflight>,
    flight: Arc<Flight>,
    id: u64,
    /// The longest time of a load, if this caller leads.
    lasts: Duration,
    /// Set if this caller runs inside a loader, which now depends on the flight.
    edge: Option<Edge>,
}

/// How waiting ended.
pub(crate) enum WaitOutcome {
    /// The leader's result.
    Completed(Result<Bytes>),
    /// The leader was dropped, and this caller leads.
    Lead(Lead),
    /// The flight ended without a result for this caller, which joins again.
    Rejoin,
}

impl Singleflight {
    /// Returns whether a flight of the key is in the table.
    pub(crate) fn has_flight(&self, key: &str) -> bool {
        self.active() > 0 && self.lock().flights.contains_key(key)
    }

    /// Joins the flight of a key, or begins one whose load may take `lasts`. A flight that exceeded
    /// its time is replaced by a new one, to which its waiters move.
    ///
    /// # Errors
    /// `Loader` if waiting would close a circle of loads that wait for each other.
    pub(crate) fn join(self: &Arc<Self>, key: &str, lasts: Duration) -> Result<Joined> {
        let mut table = self.lock();
        let Some(flight) = table.flights.get(key).map(Arc::clone) else {
            return Ok(Joined::Lead(Lead::begin(self, &mut table, key, lasts)));
        };
        // The waiter is added under the table's lock: a leader that is dropped now sees it.
        let Some(id) = flight.add_waiter(self.now()) else {
            flight.close();
            let lead = Lead::begin(self, &mut table, key, lasts);
            // Without the lock: a guard may run any code. The old leader may never be polled again.
            drop(table);
            flight.drop_guard();
            return Ok(Joined::Lead(lead));
        };
        drop(table);
        Wait::new(self, flight, id, lasts).map(Joined::Wait)
    }
}

impl Lead {
    /// Returns a place among the waiters, for a caller whose load runs in a task of its own. If the
    /// caller leads later, its load may take `lasts`.
    ///
    /// # Errors
    /// `Loader` if waiting would close a circle of loads that wait for each other.
    pub(crate) fn wait(&self, lasts: Duration) -> Result<Wait> {
        let id = self.flight.add_first_waiter();
        Wait::new(&self.singleflight, Arc::clone(&self.flight), id, lasts)
    }
}

impl Wait {
    /// Takes the place of a waiter that was added to the flight.
    ///
    /// # Errors
    /// `Loader` if waiting would close a circle of loads that wait for each other.
    fn new(
        singleflight: &Arc<Singleflight>,
        flight: Arc<Flight>,
        id: u64,
        lasts: Duration,
    ) -> Result<Self> {
        let singleflight = Arc::clone(singleflight);
        // Made first, so that an error removes the waiter.
        let mut wait = Self { singleflight, flight, id, lasts, edge: None };
        wait.edge = wait_graph::wait_for(&wait.flight)?;
        Ok(wait)
    }

    /// Returns when the leader's time ends. After it, [`Singleflight::join`] begins another flight.
    pub(crate) fn until(&self) -> Duration {
        self.flight.until()
    }

    /// Returns whether the store has the loaded value, after the flight was completed.
    pub(crate) fn is_stored(&self) -> bool {
        self.flight.is_stored()
    }

    /// Lets the load go on when this caller leaves. `guard` is dropped when the load ends.
    pub(crate) fn keep(&self, guard: impl Send + 'static) {
        self.flight.keep(Box::new(guard));
    }

    /// Waits until the flight ends.
    pub(crate) async fn outcome(&mut self) -> WaitOutcome {
        let step = poll_fn(|cx| {
            let until = self.singleflight.after(self.lasts);
            self.flight.poll_wait(self.id, until, cx)
        });
        match step.await {
            Step::Return(result) => WaitOutcome::Completed(result),
            Step::Lead => {
                WaitOutcome::Lead(Lead::new(&self.singleflight, Arc::clone(&self.flight)))
            }
            Step::Rejoin => WaitOutcome::Rejoin,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.flight.remove_waiter(self.id) {
            self.singleflight.remove_abandoned(&self.flight);
        }
    }
}
