//! The contract's section "When the store fails", line by line, for a store that may wait and for one that never does.

mod answers;
mod loads;
mod marks;
mod owed;
mod patience;
mod replay;

use std::sync::Arc;

use cache_core::{
    Cache, ErrorKind, Result,
    layer::{BreakerSettings, Call, Operation},
    store::{Backend, Expiry, Inline, SetMode},
    testing::{FakeClock, Fault, Faulty, Model},
};

/// The kinds that tell of the store's health.
const OPEN: [ErrorKind; 3] = [ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::Backend];

fn cache_over(store: &Faulty) -> Cache {
    // With this clock nothing happens in the background; that has tests of its own.
    let clock = FakeClock::new().clock();
    let builder = Cache::builder(Arc::new(store.clone())).key_prefix("p").clock(clock);
    // Every call is to reach the store here; the breaker has tests of its own.
    builder.breaker(BreakerSettings::off()).build("test").unwrap()
}

/// The way of stores that may wait, and that of those that never do.
fn both() -> [(Faulty, Cache); 2] {
    let model = || Arc::new(Inline::new(Model::default()));
    [Faulty::new(model()), Faulty::inline(model())].map(|store| {
        let cache = cache_over(&store);
        (store, cache)
    })
}

fn down(store: &Faulty, kind: ErrorKind) {
    store.inject(move |_| Fault::Error(kind));
}

/// The store loses its answers, or does not do what it is asked, but for reads.
fn writes(fault: Fault) -> impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static {
    move |call| match call.operation {
        Operation::Set
        | Operation::SetMany
        | Operation::Delete
        | Operation::DeleteMany
        | Operation::CompareAndDelete => fault,
        _ => Fault::None,
    }
}

/// Writes past the cache.
async fn put(store: &Faulty, key: &str, value: &'static str) {
    let key = format!("p:1:{key}");
    let healthy = store.set(&key, value.into(), Expiry::Never, SetMode::Always).await;
    assert!(healthy.unwrap());
}

fn kind<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    answer.unwrap_err().kind()
}

/// The store of a cache whose deadline is 500 ms, and a clock.
fn timed() -> (FakeClock, Faulty, Cache) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build("test").unwrap();
    (time, store, cache)
}
