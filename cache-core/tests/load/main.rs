//! Loads through the whole cache, over a store that may wait. The target `flight_model` checks the
//! interleavings.

mod cycles;
mod sharing;
mod storing;
mod unpolled;
mod writes;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use cache_core::{
    Cache, secs,
    store::Inline,
    testing::{FakeClock, Faulty, Model},
};
use tokio::sync::Notify;

/// Returns a store whose calls can be held, a cache over it, and its clock.
fn world() -> (Faulty, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build("test").unwrap();
    (store, cache, time)
}

/// Loads that a test counts, that notify the test when they begin, and that end when the test
/// allows it.
#[derive(Clone, Default)]
struct Source {
    loads: Arc<AtomicUsize>,
    began: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Source {
    async fn load(self, value: u32) -> Result<u32, io::Error> {
        self.loads.fetch_add(1, SeqCst);
        self.began.notify_one();
        self.go_on.notified().await;
        Ok(value)
    }

    fn count(&self) -> usize {
        self.loads.load(SeqCst)
    }
}

/// Lets every task run until it waits.
async fn run_tasks() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

fn spawn_load(
    cache: &Cache,
    source: &Source,
    value: u32,
) -> tokio::task::JoinHandle<cache_core::Result<u32>> {
    let (cache, source) = (cache.clone(), source.clone());
    tokio::spawn(async move { cache.get_or_try_set("k", secs(60), || source.load(value)).await })
}
