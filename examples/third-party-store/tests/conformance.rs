//! The conformance suite, for the store and for a cache over it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{Clock, store::Offload, testing::FakeClock};
use third_party_store::{Options, Redb};

// ANCHOR: harness
/// Each handle is a store of its own with its own file, because redb opens a file once.
fn harness(options: Options, clock: Clock) -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let opened = AtomicUsize::new(0);
    let open = move || {
        let file = opened.fetch_add(1, Ordering::Relaxed).to_string();
        let store = Redb::new(folder.path().join(file), options, clock.clone());
        Arc::new(Offload::new(store, 4)) as _
    };
    Harness::new("redb", open).may_clear_store()
}

fn fast() -> Options {
    Options { durable: false, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms() {
    let time = FakeClock::new();
    run_backend(harness(fast(), time.clock()).clock(time)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_over_the_store_conforms() {
    let time = FakeClock::new();
    run_cache(harness(fast(), time.clock()).clock(time)).await;
}
// ANCHOR_END: harness

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_by_the_machines_clock_with_durable_writes() {
    run_backend(harness(Options::default(), Clock::system())).await;
}
