//! The steps of calls of a cache, with the fences under test.

use bytes::Bytes;

use super::{
    Policy,
    fence::{Fence, Fenced},
};
use crate::{
    KEY, LASTS,
    cache::Cache,
    runtime::sync::Arc,
    singleflight::{Joined, Lead, WaitOutcome},
    timeout::Expiry,
    value::envelope::{self, Found},
};

const POLICY: Policy = Policy { load_deadline: LASTS };

/// Returns the value of a stored entry if it is fresh.
fn fresh(found: Found) -> Option<Bytes> {
    match found {
        Found::Fresh(value) => Some(value),
        Found::Stale(_) | Found::Lease(_) => None,
    }
}

impl Cache {
    /// Reads the key as a fetch does.
    pub(crate) async fn find(&self) -> Option<Found> {
        let entry = self.read_entry(KEY, true).await.unwrap()?;
        Some(envelope::find(entry.value, entry.ttl))
    }

    /// Does the steps of `Cache::get`.
    pub(super) async fn get(&self) -> Option<Bytes> {
        self.find().await.and_then(fresh)
    }

    /// Does the steps of `Cache::get_or_set` after its first read, which began at this epoch.
    pub(crate) async fn load_missing<F: Future<Output = Bytes>>(
        &self,
        write_epoch: u64,
        loader: impl FnOnce() -> F,
    ) -> Bytes {
        let flights = &self.shared.flights;
        loop {
            match flights.join(KEY, LASTS).unwrap() {
                Joined::Lead(lead) => {
                    if flights.write_epoch(KEY) != write_epoch
                        && let Some(value) = self.get().await
                    {
                        lead.complete(Ok(value.clone()));
                        return value;
                    }
                    return self.lead(lead, false, loader).await;
                }
                Joined::Wait(mut wait) => match wait.outcome().await {
                    WaitOutcome::Completed(result) => return result.unwrap(),
                    WaitOutcome::Lead(lead) => return self.lead(lead, false, loader).await,
                    WaitOutcome::Rejoin => {}
                },
            }
        }
    }

    /// Runs the load of a flight. `has_entry` if it replaces a stale value.
    pub(super) async fn lead<F: Future<Output = Bytes>>(
        &self,
        lead: Lead,
        has_entry: bool,
        loader: impl FnOnce() -> F,
    ) -> Bytes {
        let wait = self.lease_wait(&POLICY);
        let mut fence = match self.fence(&lead, KEY, &POLICY, wait, has_entry, &fresh).await {
            Fenced::By(fence) => Some(fence),
            Fenced::Foreign => None,
            Fenced::Failed => unreachable!("the store of the model does not fail"),
            Fenced::Found(value) => {
                lead.complete(Ok(value.clone()));
                return value;
            }
        };
        let loaded = lead.load(loader()).await;
        if let Some(fence) = fence.as_deref_mut() {
            let loaded = loaded.clone();
            let write = || async move { fence.replace(loaded, Expiry::Never).await };
            let dropped = |id| self.wait_out_write(id);
            lead.store(write, LASTS, std::future::pending(), dropped).await;
        }
        Fence::release(fence).await;
        lead.complete(Ok(loaded.clone()));
        loaded
    }

    /// Keeps the write of a dropped load in progress for as long as a write may take.
    fn wait_out_write(&self, id: u64) {
        let shared = Arc::clone(&self.shared);
        let task = shuttle::future::spawn(async move {
            shared.clock.sleep(LASTS).await;
            shared.flights.write_arrived(KEY, id);
        });
        self.shared.tasks.lock().unwrap().push(task);
    }

    /// Does the steps of `Cache::delete`. Returns whether the write was made in time.
    pub(crate) async fn delete(&self) -> bool {
        let writing = self.shared.flights.begin_write(KEY, LASTS);
        self.shared.flights.detach(KEY, std::future::pending()).await;
        writing.run(self.store().write(None)).await.is_some()
    }

    /// Does the steps of `Cache::set`. Returns whether the write was made in time.
    pub(crate) async fn set(&self, value: Bytes, expiry: Expiry) -> bool {
        let writing = self.shared.flights.begin_write(KEY, LASTS);
        self.shared.flights.detach(KEY, std::future::pending()).await;
        writing.run(self.store().write(Some((value, expiry)))).await.is_some()
    }

    /// Does the steps of `Cache::clear`.
    pub(crate) async fn clear(&self) {
        self.shared.flights.detach_all(std::future::pending()).await;
        self.store().write(None).await;
        self.shared.flights.detach_all(std::future::pending()).await;
    }
}
