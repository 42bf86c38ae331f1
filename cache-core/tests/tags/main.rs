//! Tags through the whole cache, over a store that may wait, with a clock that the tests move. The
//! conformance suite checks what several processes see on every store.

mod expiry;
#[cfg(all(feature = "msgpack", feature = "postcard", feature = "lz4", feature = "zstd"))]
mod forms;
mod loads;
mod outages;
mod reads;
mod settings;
mod together;
mod traps;
mod writes;

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache, FetchSettings,
    layer::{BreakerSettings, Operation},
    store::{Backend, Inline},
    testing::{FakeClock, Faulty, Model},
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// The `tag_staleness` of the caches.
const SECOND: Duration = Duration::from_secs(1);

/// A store, and the caches of two processes over it.
struct World {
    store: Faulty,
    here: Cache,
    there: Cache,
    time: FakeClock,
}

impl World {
    fn new() -> Self {
        Self::with(FetchSettings::default())
    }

    fn with(fetch: FetchSettings) -> Self {
        let time = FakeClock::new();
        let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
        let cache = || {
            let builder = Cache::builder(Arc::new(store.clone())).clock(time.clock()).tags(true);
            // The tests count calls, which an open breaker would not make.
            let builder = builder.breaker(BreakerSettings::off());
            builder.fetch(fetch).build("test").unwrap()
        };
        Self { here: cache(), there: cache(), store, time }
    }

    /// Removes the marker of a tag, as an eviction does.
    async fn lose_marker(&self, tag: &str) {
        assert!(self.store.delete(&marker(tag)).await.unwrap(), "{tag} has no marker");
    }
}

/// Returns the key of the marker of a tag, computed again as the documentation has it.
fn marker(tag: &str) -> String {
    let hash = tag.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(":tag:{:016x}", hash ^ (hash >> 29))
}

/// Returns the number of calls of each operation that `run` makes.
async fn calls<F: Future>(store: &Faulty, run: F) -> Vec<(Operation, u64)> {
    let count = || Operation::ALL.iter().map(|it| store.calls(*it)).collect::<Vec<_>>();
    let before = count();
    run.await;
    let made = Operation::ALL.iter().zip(count()).zip(before);
    made.map(|((it, after), before)| (*it, after - before)).filter(|(_, it)| *it > 0).collect()
}

/// Lets every task run until it waits.
async fn run_tasks() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
