//! Namespaces over a store that may wait and fail, with a clock that the tests move. The
//! conformance suite checks what does not depend on faults.

#![allow(missing_docs)]

mod failures;
mod loads;
mod races;
mod reads;

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache,
    layer::BreakerSettings,
    store::Inline,
    testing::{FakeClock, Faulty, Model},
};

const SECOND: Duration = Duration::from_secs(1);
const MARKER: &str = "p:ns:tag:users";

/// A store with injected faults, and the clock of all caches over it.
struct World {
    store: Faulty,
    time: FakeClock,
}

impl World {
    fn new() -> Self {
        let time = FakeClock::new();
        let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
        Self { store, time }
    }

    /// Returns a cache like one of another process, which shares nothing but the store.
    fn cache(&self) -> Cache {
        self.cache_with_staleness(SECOND)
    }

    fn cache_with_staleness(&self, staleness: Duration) -> Cache {
        let builder = Cache::builder(self.store.clone()).key_prefix("p").clock(self.time.clock());
        let builder = builder.tag_staleness(staleness).breaker(BreakerSettings::off());
        builder.build("test").unwrap()
    }
}

/// Lets the other tasks of a runtime with one thread run until they wait.
async fn run_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
