//! The suite that every store passes, of the store and of a whole cache over it.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{Inline, testing::FakeClock};
use cache_memory::Memory;

/// By a clock that is moved.
fn moved() -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    let store =
        move || Arc::new(Inline::new(Memory::builder().clock(clock.clone()).build().unwrap())) as _;
    Harness::new("memory", store).clock(time).may_clear_store()
}

/// By the machine's clock.
fn real() -> Harness {
    Harness::new("memory", || Arc::new(Inline::new(Memory::new())) as _).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_by_a_clock_that_is_moved() {
    run_backend(moved()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_by_the_machines_clock() {
    run_backend(real()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_over_it_conforms_by_a_clock_that_is_moved() {
    run_cache(moved()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_over_it_conforms_by_the_machines_clock() {
    run_cache(real()).await;
}
