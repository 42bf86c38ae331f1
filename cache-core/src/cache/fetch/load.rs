//! Waits for a load, and begins it if no other caller has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::request::{FetchedBytes, Loader, Mode, Request, no_value};
use crate::{
    cache::Cache,
    error::{Error, ErrorKind, Result},
    fetch::{
        FetchOutcome, Staleness,
        singleflight::{Joined, Lead, Wait, WaitOutcome},
    },
    layer::Operation,
    runtime::first,
    value::{Form, envelope},
};

impl<V: Form> Cache<V> {
    /// Returns the value of a fetch whose read found no fresh value.
    pub(super) async fn load_for(
        &self,
        request: Request,
        loader: Loader<V>,
    ) -> Result<FetchedBytes> {
        let request = Arc::new(request);
        if request.mode == Mode::Bypass {
            let lead = self.shared.flights.alone(&request.key);
            return self.load_alone(lead, &request, loader).await;
        }
        if request.mode != Mode::Force {
            let now = self.shared.clock.coarse();
            if let Some(error) = self.shared.fetch.failures.remembered(&request.key, now) {
                return self.stale_or(&request, error);
            }
            if request.stale.is_some() {
                return self.serve_stale(request, loader).await;
            }
        }
        self.wait_for_load(&request, loader).await
    }

    /// Joins the load of the key, or begins it, and waits for its result.
    async fn wait_for_load(
        &self,
        request: &Arc<Request>,
        loader: Loader<V>,
    ) -> Result<FetchedBytes> {
        let flights = &self.shared.flights;
        let mut loader = Some(loader);
        let began = flights.now();
        let hard = request.policy.hard.unwrap_or(Duration::MAX);
        // The wait for another caller's load, and then for this caller's own.
        let end = began.saturating_add(hard.min(request.lasts().saturating_mul(2)));
        let mut wait = self.join(request, &mut loader)?;
        loop {
            let now = flights.now();
            let time = wait.until().min(end).saturating_sub(now);
            let limit = self.shared.clock.sleep(time);
            match first(wait.outcome(), limit).await {
                Some(WaitOutcome::Completed(result)) => {
                    let took = flights.now().saturating_sub(began);
                    return match self.shared_result(request, result, took)? {
                        Some(found) => {
                            if loader.is_some() {
                                self.load_shared();
                            }
                            Ok(found)
                        }
                        // The leader loaded another type, so this caller loads for itself.
                        None => match loader.take() {
                            Some(loader) => {
                                let lead = flights.alone(&request.key);
                                self.load_alone(lead, request, loader).await
                            }
                            None => Err(self.failed(request, no_value())),
                        },
                    };
                }
                Some(WaitOutcome::Lead(lead)) => {
                    wait = self.lead_load(lead, request, &mut loader)?;
                }
                None if flights.now() >= end => return Err(self.give_up(request, &wait)),
                // After the deadline of the leader, another caller or this one becomes the leader.
                Some(WaitOutcome::Rejoin) | None => {
                    drop(wait);
                    wait = self.join(request, &mut loader)?;
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

    /// Returns the result of a shared load for this caller; `None` if it is of no use to it.
    pub(super) fn shared_result(
        &self,
        request: &Request,
        result: Result<Bytes>,
        took: Duration,
    ) -> Result<Option<FetchedBytes>> {
        let stored = match result {
            Ok(stored) => stored,
            Err(error) => return self.stale_or(request, error).map(Some),
        };
        if envelope::is_absent(&stored) {
            let absent = FetchedBytes { value: None, outcome: FetchOutcome::Absent };
            return Ok(request.takes_absent.then_some(absent));
        }
        if !(request.is_type)(&self.shared.values, &stored) {
            return Ok(None);
        }
        let outcome = if request.store_failed {
            FetchOutcome::MissByError { took }
        } else {
            FetchOutcome::Loaded { took }
        };
        Ok(Some(FetchedBytes { value: Some(stored), outcome }))
    }

    /// Runs the loader in the future of its caller, for this caller alone.
    async fn load_alone(
        &self,
        lead: Lead,
        request: &Arc<Request>,
        loader: Loader<V>,
    ) -> Result<FetchedBytes> {
        let began = self.shared.flights.now();
        let load = self.run_loader(&lead, request, loader);
        let hard = request.policy.hard.unwrap_or(Duration::MAX);
        let Some((result, _)) = first(load, self.shared.clock.sleep(hard)).await else {
            return Err(self.failed(request, too_long_for_caller(hard)));
        };
        let took = self.shared.flights.now().saturating_sub(began);
        let found = self.shared_result(request, result, took)?;
        found.ok_or_else(|| self.failed(request, no_value()))
    }

    /// Returns the stale value instead of an error, if there is one.
    pub(super) fn stale_or(&self, request: &Request, error: Error) -> Result<FetchedBytes> {
        match request.served_stale(Staleness::LoadFailed(error.clone())) {
            Some(stale) if request.mode != Mode::Force => {
                self.count_stale();
                Ok(stale)
            }
            _ => Err(error),
        }
    }

    /// Returns the stale value.
    pub(super) fn stale(&self, request: &Request, why: Staleness) -> Result<FetchedBytes> {
        self.count_stale();
        request.served_stale(why).ok_or_else(no_value)
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
