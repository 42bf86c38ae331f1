//! The suite that every store passes, of the store and of a whole cache over it.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{Clock, testing::FakeClock};

use crate::place::{Place, cache_by};

/// Values that are refused are small enough to be no burden.
const OPTIONS: &str = "max_value_bytes = '500KiB'";

fn harness(name: &str, clock: Clock, options: &'static str) -> Harness {
    let place = Place::new();
    let open = move || Arc::clone(cache_by(clock.clone(), &place.path, options).backend());
    Harness::new(name, open).may_clear_store()
}

fn moved(options: &'static str) -> Harness {
    let time = FakeClock::new();
    harness("file", time.clock(), options).clock(time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_by_a_clock_that_is_moved() {
    run_backend(moved(OPTIONS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_over_it_conforms_by_a_clock_that_is_moved() {
    run_cache(moved(OPTIONS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_by_the_machines_clock() {
    run_backend(harness("file", Clock::system(), OPTIONS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_over_it_conforms_by_the_machines_clock() {
    run_cache(harness("file", Clock::system(), OPTIONS)).await;
}

const DIRECT: &str = "max_value_bytes = '500KiB'\ndirect_reads = true";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_with_direct_reads() {
    run_backend(harness("direct", Clock::system(), DIRECT)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_over_it_conforms_with_direct_reads() {
    run_cache(harness("direct", Clock::system(), DIRECT)).await;
}
