//! The memo of a request, over a store that may wait, with a clock that the tests move.

#![allow(missing_docs)]

mod changes;
mod random;
mod reads;
mod scopes;

use std::{convert::Infallible, sync::Arc, time::Duration};

use cache_core::{
    Cache, FetchSettings,
    layer::BreakerSettings,
    store::Inline,
    testing::{FakeClock, Faulty, Model},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A store, and the caches of two processes over it.
struct World {
    store: Faulty,
    here: Cache,
    there: Cache,
    time: FakeClock,
}

impl World {
    /// Plain values.
    fn plain() -> Self {
        Self::new(false, FetchSettings::default())
    }

    /// Entries with tags, revisions, a grace and remembered absences.
    fn with_entries() -> Self {
        let mut fetch = FetchSettings::with_grace(MINUTE);
        fetch.negative_ttl = Some(MINUTE.into());
        Self::new(true, fetch)
    }

    fn new(has_entries: bool, mut fetch: FetchSettings) -> Self {
        // The same lifetimes in each run.
        fetch.jitter = Some(0.0);
        let time = FakeClock::new();
        let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
        let cache = || {
            let builder = Cache::builder(Arc::new(store.clone())).clock(time.clock());
            let builder = builder.tags(has_entries).revisions(has_entries).fetch(fetch);
            // The tests count calls, which an open breaker would not make.
            builder.breaker(BreakerSettings::off()).build("test").unwrap()
        };
        Self { here: cache(), there: cache(), store, time }
    }

    /// Returns how many calls of the store this code makes.
    async fn calls(&self, code: impl Future<Output = ()>) -> u64 {
        let before = self.store.all_calls();
        code.await;
        self.store.all_calls() - before
    }
}

/// Runs a test with plain values and with entries.
async fn on_each(test: impl AsyncFn(World)) {
    test(World::plain()).await;
    test(World::with_entries()).await;
}

/// A loader that must not run.
async fn unreachable_load() -> Result<String, Infallible> {
    panic!("the value was there")
}
