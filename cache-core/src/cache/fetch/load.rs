//! Waits for a load, and begins it if no other caller has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::request::{FetchedBytes, Loader, Mode, Request, no_value};
use crate::{
    cache::{Cache, tags::Declared},
    error::{Error, ErrorKind, Result},
    fetch::{
        FetchOutcome,
        singleflight::{Joined, Lead, Wait, WaitOutcome},
    },
    layer::Operation,
    runtime::{self, first},
    value::{Form, envelope},
};

impl<V: Form> Cache<V> {
    /// Returns the value of a fetch whose read found no fresh value. It may be of no use to this
    /// caller, see [`load_alone`](Self::load_alone).
    pub(super) async fn load_for(
        &self,
        request: &Arc<Request>,
        loader: &mut Option<Loader<V>>,
    ) -> Result<FetchedBytes> {
        if request.mode == Mode::Bypass {
            return self.load_alone(request, loader).await;
        }
        if request.mode == Mode::Usual {
            let now = self.shared.clock.coarse();
            if let Some(error) = self.shared.fetch.failures.remembered(&request.key, now) {
                return Err(error);
            }
        }
        self.wait_for_load(request, loader).await
    }

    /// Joins the load of the key, or begins it, and waits for its result.
    async fn wait_for_load(
        &self,
        request: &Arc<Request>,
        loader: &mut Option<Loader<V>>,
    ) -> Result<FetchedBytes> {
        let flights = &self.shared.flights;
        let began = flights.now();
        let hard = request.policy.hard.unwrap_or(Duration::MAX);
        // The wait for another caller's load, and then for this caller's own.
        let end = began.saturating_add(hard.min(request.lasts().saturating_mul(2)));
        let mut wait = self.join(request, loader)?;
        loop {
            let now = flights.now();
            let time = wait.until().min(end).saturating_sub(now);
            let limit = self.shared.clock.sleep(time);
            match first(wait.outcome(), limit).await {
                Some(WaitOutcome::Completed(result)) => {
                    if loader.is_some() {
                        self.load_shared();
                    }
                    let took = flights.now().saturating_sub(began);
                    return shared_result(request, result, took, wait.is_stored());
                }
                Some(WaitOutcome::Lead(lead)) => {
                    wait = self.lead_load(lead, request, loader)?;
                }
                None if flights.now() >= end => return Err(self.give_up(request, &wait)),
                // After the deadline of the leader, another caller or this one becomes the leader.
                Some(WaitOutcome::Rejoin) | None => {
                    drop(wait);
                    wait = self.join(request, loader)?;
                }
            }
        }
    }

    fn join(&self, request: &Arc<Request>, loader: &mut Option<Loader<V>>) -> Result<Wait> {
        let joined = self.shared.flights.join(&request.key, request.lasts());
        match joined.map_err(|it| self.failed(request, it))? {
            Joined::Lead(lead) => self.lead_load(lead, request, loader),
            Joined::Wait(wait) => Ok(wait),
        }
    }

    /// Begins the load as a task, and waits for it like other callers.
    fn lead_load(
        &self,
        lead: Lead,
        request: &Arc<Request>,
        loader: &mut Option<Loader<V>>,
    ) -> Result<Wait> {
        let Some(loader) = loader.take() else {
            return Err(self.failed(request, load_ended()));
        };
        let wait = lead.wait(request.lasts()).map_err(|it| self.failed(request, it))?;
        self.spawn_load(lead, request, loader).map_err(|it| self.failed(request, it))?;
        Ok(wait)
    }

    /// Runs the loader in the future of its caller, for this caller alone.
    pub(super) async fn load_alone(
        &self,
        request: &Arc<Request>,
        loader: &mut Option<Loader<V>>,
    ) -> Result<FetchedBytes> {
        let Some(loader) = loader.take() else { return Err(self.failed(request, no_value())) };
        let lead = self.shared.flights.alone(&request.key);
        let began = self.shared.flights.now();
        let load = self.run_loader(&lead, request, loader, Declared::Tags(None));
        let hard = request.policy.hard.unwrap_or(Duration::MAX);
        let load = first(load, self.shared.clock.sleep(hard));
        let ended = if self.on_own_runtime {
            let own = runtime::own().map_err(|it| self.failed(request, it))?;
            Box::pin(runtime::within(own, load)).await
        } else {
            load.await
        };
        let Some((result, _)) = ended else {
            return Err(self.failed(request, too_long_for_caller(hard)));
        };
        let took = self.shared.flights.now().saturating_sub(began);
        shared_result(request, result, took, false)
    }

    /// Leaves a load whose caller has waited for its `hard_timeout`. The load goes on for later
    /// callers if the number of loads in the background allows it.
    fn give_up(&self, request: &Request, wait: &Wait) -> Error {
        if let Some(permit) = self.shared.fetch.refreshes.permit() {
            wait.keep(permit);
        }
        let hard = request.policy.hard.unwrap_or(request.policy.load_deadline);
        self.failed(request, too_long_for_caller(hard))
    }

    /// Counts an error of a fetch and adds where it happened.
    pub(super) fn failed(&self, request: &Request, error: Error) -> Error {
        self.fail(Operation::Fetch, Some(&request.key), error)
    }
}

/// Returns the result of a load for one of its callers, who waited for `took`.
pub(super) fn shared_result(
    request: &Request,
    result: Result<Bytes>,
    took: Duration,
    stored: bool,
) -> Result<FetchedBytes> {
    let value = result?;
    if envelope::is_absent(&value) {
        return Ok(FetchedBytes { value: None, outcome: FetchOutcome::Absent });
    }
    let outcome = if request.store_failed {
        FetchOutcome::MissByError { took }
    } else {
        FetchOutcome::Loaded { took, stored }
    };
    Ok(FetchedBytes { value: Some(value), outcome })
}

#[cold]
fn too_long_for_caller(hard: Duration) -> Error {
    Error::new(ErrorKind::TimedOut, format!("the load took longer than {hard:?}"))
        .ignored_by_breaker()
}

#[cold]
fn load_ended() -> Error {
    Error::new(
        ErrorKind::Loader,
        "the task of the load ended without a result: its runtime was shut down, or it did not \
         yield within the load deadline",
    )
}
