//! Revisions through the whole cache, over a store that may wait, with a clock that the tests move.
//! The conformance suite checks what several processes see on every store.

#![allow(missing_docs)]

mod calls;
mod floors;
mod keyspaces;
mod loads;
mod orders;

use std::{convert::Infallible, sync::Arc, time::Duration};

use cache_core::{
    Cache, CacheBuilder, LoadContext,
    store::Inline,
    testing::{FakeClock, Faulty, Model},
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Returns caches that share a store and nothing else, as caches of several processes do.
fn processes<const N: usize>(
    configure: impl Fn(CacheBuilder) -> CacheBuilder,
) -> ([Cache; N], Faulty, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let build = || Cache::builder(store.clone()).clock(time.clock()).revisions(true);
    ([(); N].map(|()| configure(build()).build("test").unwrap()), store, time)
}

fn world() -> (Cache, Faulty, FakeClock) {
    let ([cache], store, time) = processes(|it| it);
    (cache, store, time)
}

/// A loader of a value with this revision.
fn row(
    value: u32,
    revision: impl Into<Option<u64>>,
) -> impl FnOnce(LoadContext) -> std::future::Ready<Result<u32, Infallible>> + Send + 'static {
    let revision = revision.into();
    move |context| {
        if let Some(revision) = revision {
            context.revision(revision);
        }
        std::future::ready(Ok(value))
    }
}

async fn get(cache: &Cache) -> Option<u32> {
    cache.get("k").await.unwrap()
}

/// Lets every task run until it waits.
async fn run_tasks() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
