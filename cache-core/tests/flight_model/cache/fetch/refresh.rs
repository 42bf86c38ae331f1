//! The steps of a refresh in the background, with the fences under test.

use bytes::Bytes;

use crate::{KEY, LASTS, cache::Cache, runtime::sync::Arc, singleflight::Joined};

impl Cache {
    /// Does the steps of a fetch that finds a stale value in its first read, which began at this
    /// epoch: begins a refresh unless one runs.
    pub(crate) fn refresh<F>(&self, write_epoch: u64, loader: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = Bytes> + Send,
    {
        let flights = &self.shared.flights;
        if flights.has_flight(KEY) {
            return;
        }
        let Joined::Lead(lead) = flights.join(KEY, LASTS).unwrap() else { return };
        lead.keep(());
        let (cache, flights) = (self.clone(), Arc::clone(flights));
        let task = shuttle::future::spawn(async move {
            if flights.write_epoch(KEY) != write_epoch
                && let Some(value) = cache.get().await
            {
                return lead.complete(Ok(value));
            }
            cache.lead(lead, true, loader).await;
        });
        self.shared.tasks.lock().unwrap().push(task);
    }
}
