//! Fenced loads for the tests: by each call that loads, and paused in their loader.

use std::{convert::Infallible, sync::Arc};

use cache_core::{Cache, FetchSettings};
use tokio::{sync::Notify, task::JoinHandle};

use crate::ctx::{Ctx, LONG_TIME};

/// Settings with fenced loads.
pub(super) fn fenced() -> FetchSettings {
    let mut settings = FetchSettings::default();
    settings.fenced = Some(true);
    settings
}

/// Caches of several processes whose loads are fenced.
pub(super) fn processes<const N: usize>(ctx: &Ctx) -> [Cache; N] {
    ctx.processes_with(|it| it.fetch(fenced()))
}

/// The calls that load a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    GetOrSet,
    Fetch,
    Batch,
}

pub(super) const CALLS: [By; 3] = [By::GetOrSet, By::Fetch, By::Batch];

/// A load that waits in its loader.
pub(super) struct Paused {
    go_on: Arc<Notify>,
    pub(super) caller: JoinHandle<cache_core::Result<String>>,
}

impl Paused {
    /// Begins a load of `k`, whose value is `late`. Returns when its loader runs.
    pub(super) async fn begin(by: By, cache: &Cache) -> Self {
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let caller = tokio::spawn({
            let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
            async move {
                let load = move || async move {
                    began.notify_one();
                    go_on.notified().await;
                    "late".to_owned()
                };
                call(by, &cache, load).await
            }
        });
        began.notified().await;
        Self { go_on, caller }
    }

    /// Lets the loader end. Returns the value that its caller got.
    pub(super) async fn end(self) -> cache_core::Result<String> {
        self.go_on.notify_one();
        self.caller.await.expect("the task ended without a panic")
    }
}

/// Loads `k` by this call.
pub(super) async fn call<F>(
    by: By,
    cache: &Cache,
    load: impl FnOnce() -> F + Send + 'static,
) -> cache_core::Result<String>
where
    F: Future<Output = String> + Send + 'static,
{
    match by {
        By::GetOrSet => cache.get_or_set("k", LONG_TIME, load).await,
        By::Fetch => {
            let load = |_| async move { Ok::<_, Infallible>(load().await) };
            cache.fetch("k").ttl(LONG_TIME).load(load).await
        }
        By::Batch => {
            let mut load = Some(load);
            let load = |_| {
                let load = load.take().expect("the loader runs once");
                async move { [("k", load().await)] }
            };
            let mut found = cache.get_or_set_many(["k"], LONG_TIME, load).await?;
            Ok(found.remove("k").expect("the loader has a value"))
        }
    }
}
