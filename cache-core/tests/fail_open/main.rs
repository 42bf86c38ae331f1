//! The promises of the contract for a store that fails: for a store that may wait, and for a store
//! that never waits.

mod deadlines;
mod loads;
mod pending_deletes;
mod replay;
mod results;
mod tombstones;

use std::sync::Arc;

use cache_core::{
    Cache, ErrorKind, Result,
    layer::{BreakerSettings, Call, Operation},
    store::{Backend, Expiry, Inline, SetMode},
    testing::{FakeClock, Fault, Faulty, Model},
};

/// The error kinds that fail open.
const OPEN: [ErrorKind; 3] = [ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::Backend];

fn cache_over(store: &Faulty) -> Cache {
    // This clock stands still, so nothing runs in the background. `replay.rs` tests the background.
    let clock = FakeClock::new().clock();
    let builder = Cache::builder(Arc::new(store.clone())).key_prefix("p").clock(clock);
    // Every call must reach the store, so there is no breaker.
    builder.breaker(BreakerSettings::off()).build("test").unwrap()
}

/// Returns a store that may wait and a store that never waits, each with a cache over it.
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

/// Returns a rule that injects the fault into every write, but not into reads.
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

/// Writes to the store without the cache.
async fn put(store: &Faulty, key: &str, value: &'static str) {
    let key = format!("p:1:{key}");
    let healthy = store.set(&key, value.into(), Expiry::Never, SetMode::Always).await;
    assert!(healthy.unwrap());
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Returns a clock, a store, and a cache over it with a deadline of 500 ms.
fn timed() -> (FakeClock, Faulty, Cache) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build("test").unwrap();
    (time, store, cache)
}
