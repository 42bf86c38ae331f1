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

/// Returns the value of a stored entry.
pub(crate) fn value(found: Found) -> Option<Bytes> {
    match found {
        Found::Value(value) => Some(value),
        Found::Lease(_) => None,
    }
}

impl Cache {
    /// Does the steps of `Cache::get`.
    pub(crate) async fn get(&self) -> Option<Bytes> {
        let entry = self.read_entry(KEY, true).await.unwrap()?;
        value(envelope::find(entry.value, entry.ttl))
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
                    return self.lead(lead, loader).await;
                }
                Joined::Wait(mut wait) => match wait.outcome().await {
                    WaitOutcome::Completed(result) => return result.unwrap(),
                    WaitOutcome::Lead(lead) => return self.lead(lead, loader).await,
                    WaitOutcome::Rejoin => {}
                },
            }
        }
    }

    async fn lead<F: Future<Output = Bytes>>(
        &self,
        lead: Lead,
        loader: impl FnOnce() -> F,
    ) -> Bytes {
        let wait = self.lease_wait(&POLICY);
        let mut fence = match self.fence(&lead, KEY, &POLICY, wait, false, &value).await {
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
    pub(crate) async fn set(&self, value: Bytes) -> bool {
        let writing = self.shared.flights.begin_write(KEY, LASTS);
        self.shared.flights.detach(KEY, std::future::pending()).await;
        writing.run(self.store().write(Some(value))).await.is_some()
    }

    /// Does the steps of `Cache::clear`.
    pub(crate) async fn clear(&self) {
        self.shared.flights.detach_all(std::future::pending()).await;
        self.store().write(None).await;
        self.shared.flights.detach_all(std::future::pending()).await;
    }
}
