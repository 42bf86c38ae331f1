//! The conformance suite, for the store and for a cache with this store.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{store::Inline, testing::FakeClock};
use cache_memory::Memory;

/// With a clock that the suite advances.
fn with_fake_clock() -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    let store =
        move || Arc::new(Inline::new(Memory::builder().clock(clock.clone()).build().unwrap())) as _;
    Harness::new("memory", store).clock(time).may_clear_store()
}

/// With the system clock.
fn with_system_clock() -> Harness {
    Harness::new("memory", || Arc::new(Inline::new(Memory::new())) as _).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_a_fake_clock() {
    run_backend(with_fake_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_the_system_clock() {
    run_backend(with_system_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_conforms_with_a_fake_clock() {
    run_cache(with_fake_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_conforms_with_the_system_clock() {
    run_cache(with_system_clock()).await;
}
