//! Fetches through the whole cache, over a store that may wait, with a clock that the tests move.
//! The conformance suite checks what does not depend on time; `flight_model` checks interleavings.

mod bypass;
mod deadlines;
mod decoding;
mod entries;
mod fences;
mod invariants;
mod many;
mod refreshes;
mod results;
mod settings;
mod storm;
mod traps;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, FetchSettings, LoadContext, Loaded,
    store::Inline,
    testing::{FakeClock, Faulty, Model},
};
use tokio::sync::Notify;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Returns a store whose calls can be held, a cache over it with these defaults of fetches, and its
/// clock.
fn world_with(change: impl FnOnce(&mut FetchSettings)) -> (Faulty, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let mut settings = FetchSettings::with_grace(HOUR);
    settings.ttl = Some(MINUTE.into());
    settings.jitter = Some(0.0);
    change(&mut settings);
    let cache = Cache::builder(Arc::new(store.clone()))
        .clock(time.clock())
        .fetch(settings)
        .build("test")
        .unwrap();
    (store, cache, time)
}

fn world() -> (Faulty, Cache, FakeClock) {
    world_with(|_| ())
}

type Loading = Pin<Box<dyn Future<Output = Result<Loaded<u32>, io::Error>> + Send>>;

/// A loader that tests count, and that ends when they allow it.
#[derive(Clone, Default)]
struct Source {
    loads: Arc<AtomicUsize>,
    began: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Source {
    /// A loader that waits for [`go_on`](Self::go_on).
    fn slow(&self, value: u32) -> impl FnOnce(LoadContext) -> Loading + Send + 'static + use<> {
        let source = self.clone();
        move |_| {
            Box::pin(async move {
                source.loads.fetch_add(1, SeqCst);
                source.began.notify_one();
                source.go_on.notified().await;
                Ok(Loaded::Value(value))
            })
        }
    }

    fn count(&self) -> usize {
        self.loads.load(SeqCst)
    }
}

fn value(
    value: u32,
) -> impl FnOnce(LoadContext) -> std::future::Ready<Result<u32, io::Error>> + Send + 'static {
    move |_| std::future::ready(Ok(value))
}

fn fails<T>()
-> impl FnOnce(LoadContext) -> std::future::Ready<Result<T, io::Error>> + Send + 'static {
    |_| std::future::ready(Err(io::Error::other("db down")))
}

/// Lets every task run until it waits.
async fn run_tasks() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
