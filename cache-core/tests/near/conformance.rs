//! The conformance suite, for a store with a near tier and for a cache over it.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{
    Cache, Clock,
    store::Backend,
    testing::{FakeClock, Faulty},
};
use cache_memory::Memory;

use crate::support::near;

/// One store with a near tier: all handles share it, as in one process.
fn store(clock: Clock) -> Arc<dyn Backend> {
    let far = Faulty::new(Memory::builder().clock(clock.clone()).build().unwrap());
    let cache = Cache::builder(far).clock(clock).near(near()).build("near").unwrap();
    Arc::clone(cache.backend())
}

fn with_fake_clock() -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    Harness::new("near", move || store(clock.clone())).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms() {
    run_backend(with_fake_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_the_system_clock() {
    run_backend(Harness::new("near", || store(Clock::system())).may_clear_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_over_the_store_conforms() {
    run_cache(with_fake_clock()).await;
}

/// Tests in which another process, or the test itself, writes to the far store, and that expect to
/// see it at once. It is visible after `near.timeout`.
const WRITTEN_BY_OTHERS: &[&str] = &[
    "bytes_are_stored_unchanged",
    "invalidation_reaches_every_value_and_process",
    "late_load_does_not_store_over_a_newer_revision_or_a_floor",
    "late_load_does_not_store_over_a_write_or_delete_of_another_process",
    "late_load_is_not_served_after_an_invalidation_of_another_process",
    "late_reload_does_not_store_over_a_write_or_delete_of_another_process",
    "older_revision_replaces_nothing",
    "process_that_does_not_wait_stores_nothing",
    "writes_and_loads_carry_the_tags_of_their_handle",
];

/// Each cache of a test has a tier of its own, as in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_a_tier_of_its_own_conforms() {
    let time = FakeClock::new();
    let clock = time.clock();
    let far = move || {
        let memory = Memory::builder().clock(clock.clone()).build().unwrap();
        Arc::new(Faulty::new(memory)) as Arc<dyn Backend>
    };
    let harness = Harness::new("near", far).clock(time).may_clear_store();
    let harness = WRITTEN_BY_OTHERS
        .iter()
        .fold(harness, |it, test| it.skip(test, "a write of another process"));
    run_cache(harness.configure(|it| it.near(near()))).await;
}
