//! Serves stale values, and loads new ones in the background.

use std::{sync::Arc, time::Duration};

use super::{
    load::shared_result,
    request::{FetchedBytes, Loader, Request},
};
use crate::{
    cache::Cache,
    error::Result,
    fetch::{
        FetchOutcome, Staleness,
        singleflight::{Joined, Wait, WaitOutcome},
    },
    layer::Operation,
    runtime::first,
    telemetry::{
        observer::Refreshed,
        stats::{Event, Outcome},
    },
    value::Form,
};

impl<V: Form> Cache<V> {
    /// Begins a refresh of a stale value, and returns how the value is served: at once, or after
    /// this wait for a new one.
    pub(super) fn begin_stale(
        &self,
        request: &Arc<Request>,
        loader: Loader<V>,
    ) -> Result<(Option<Wait>, FetchOutcome)> {
        let waits = !request.policy.soft().is_zero();
        let (wait, why) = self.begin_refresh(request, loader, waits)?;
        Ok((wait, request.stale(why)))
    }

    /// Waits for a refresh until the soft timeout. Returns its result, or else how the stale value
    /// is served.
    pub(super) async fn wait_softly(
        &self,
        request: &Request,
        mut wait: Wait,
        stale: FetchOutcome,
    ) -> Result<FetchedBytes, FetchOutcome> {
        let began = self.shared.flights.now();
        let limit = self.shared.clock.sleep(request.policy.soft());
        match first(wait.outcome(), limit).await {
            Some(WaitOutcome::Completed(result)) => {
                let took = self.shared.flights.now().saturating_sub(began);
                shared_result(request, result, took, wait.is_stored())
                    .map_err(|error| request.stale(Staleness::LoadFailed(error)))
            }
            // The stale value is at hand, so this caller does not load instead of the leader.
            Some(WaitOutcome::Lead(_) | WaitOutcome::Rejoin) | None => Err(stale),
        }
    }

    /// Begins to load a value that has not expired yet.
    #[cold]
    pub(super) fn refresh_ahead(&self, request: Request, loader: Loader<V>) {
        // The value is fresh, so the caller needs no error.
        let _ = self.begin_refresh(&Arc::new(request), loader, false);
    }

    /// Begins a refresh in the background, unless one runs, the last one has just failed, or too
    /// many run. Returns the reason for a stale value, and, with `waits`, a place among those that
    /// wait for the refresh.
    ///
    /// # Errors
    /// `Runtime` if the caller is not in a tokio runtime. `Loader` if waiting would close a circle
    /// of loads.
    fn begin_refresh(
        &self,
        request: &Arc<Request>,
        loader: Loader<V>,
        waits: bool,
    ) -> Result<(Option<Wait>, Staleness)> {
        let (flights, fetch) = (&self.shared.flights, &self.shared.fetch);
        let now = self.shared.clock.coarse();
        if let Some(error) = fetch.failures.remembered(&request.key, now) {
            return Ok((None, Staleness::LoadFailed(error)));
        }
        if let Some(why) = fetch.failures.in_backoff(&request.key, now) {
            return Ok((None, why));
        }
        // Usually a refresh runs, and the stale value must cost no more than a hit.
        if !waits && flights.has_flight(&request.key) {
            return Ok((None, Staleness::Refreshing));
        }
        let joined = flights.join(&request.key, request.lasts());
        match joined.map_err(|it| self.failed(request, it))? {
            Joined::Wait(wait) => Ok((waits.then_some(wait), Staleness::Refreshing)),
            Joined::Lead(lead) => {
                let Some(permit) = fetch.refreshes.permit() else {
                    self.shared.counters.event(Event::RefreshSkipped);
                    self.shared.observer.refresh(Refreshed::Skipped);
                    return Ok((None, Staleness::TooManyRefreshes));
                };
                // Before the task begins, which otherwise finds that no caller waits.
                lead.keep(permit);
                let wait = if waits {
                    Some(lead.wait(request.lasts()).map_err(|it| self.failed(request, it))?)
                } else {
                    None
                };
                let spawned = self.spawn_load(lead, request, loader);
                spawned.map_err(|it| self.failed(request, it))?;
                self.shared.counters.event(Event::Refresh);
                self.shared.observer.refresh(Refreshed::Started);
                Ok((wait, Staleness::Refreshing))
            }
        }
    }

    /// Detaches the load of a key that is loaded by force. Returns the stored value.
    pub(super) async fn force(&self, key: &crate::key::FullKey) -> Option<bytes::Bytes> {
        self.shared.flights.detach(key, self.write_patience()).await;
        let found = self.find_for_fetch(key, self.shared.fetch.policy()).await;
        self.count(Operation::Fetch, Outcome::Miss);
        found.ok().flatten().and_then(|(found, _)| found.into_value())
    }

    /// Ends the loads that run in the background.
    pub(in crate::cache) async fn end_refreshes(&self) {
        let refreshes = &self.shared.fetch.refreshes;
        if refreshes.active() > 0 {
            self.shared.flights.release_kept();
            let patience: Duration = self.shared.write_patience;
            first(refreshes.idle(), self.shared.clock.sleep(patience)).await;
        }
    }

    /// Counts a fetch that found a stale value and got the result of its refresh.
    pub(super) fn count_in_place_of_stale(&self, outcome: &FetchOutcome) {
        let outcome = match outcome {
            FetchOutcome::Absent => Outcome::Absent,
            _ => Outcome::Miss,
        };
        self.count(Operation::Fetch, outcome);
    }
}
