//! A caller that waits for another's load.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;

use super::{
    Lead, Singleflight,
    flight::{Flight, Step},
    wait_graph::{self, Edge},
};
use crate::{error::Result, runtime::sync::Arc};

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

impl Wait {
    /// Takes the place of a waiter that was added to the flight.
    ///
    /// # Errors
    /// `Loader` if waiting would close a circle of loads that wait for each other.
    pub(super) fn new(
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
