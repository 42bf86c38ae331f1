//! The conformance suite, for the store and for a cache over it.
//!
//! Reads run on threads of the store or on the caller's, and the clock is the machine's or a fake
//! one. Each setting runs with one of the two clocks.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{Clock, testing::FakeClock};

use crate::place::{Place, cache_by};

/// A low limit, so that the suite need not write large values to exceed it.
const OPTIONS: &str = "max_value_bytes = '500KiB'";
const DIRECT_READS: &str = "max_value_bytes = '500KiB'\ndirect_reads = true";

fn harness(name: &str, clock: Clock, options: &'static str) -> Harness {
    let place = Place::new();
    let open = move || Arc::clone(cache_by(clock.clone(), &place.path, options).backend());
    Harness::new(name, open).may_clear_store()
}

fn machine_clock() -> Harness {
    harness("file", Clock::system(), OPTIONS)
}

fn fake_clock_and_direct_reads() -> Harness {
    let time = FakeClock::new();
    harness("direct", time.clock(), DIRECT_READS).clock(time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_the_machine_clock() {
    run_backend(machine_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_conforms_with_the_machine_clock() {
    run_cache(machine_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_a_fake_clock_and_direct_reads() {
    run_backend(fake_clock_and_direct_reads()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_conforms_with_a_fake_clock_and_direct_reads() {
    run_cache(fake_clock_and_direct_reads()).await;
}
