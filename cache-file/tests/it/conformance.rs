//! The conformance suite, for the store and for a cache over it.
//!
//! Reads run on the caller's thread if they do not block (in a directory on a disk), on threads of
//! the store (in a tmpfs), or always on the caller's thread. The clock is the machine's or a fake
//! one.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{Clock, testing::FakeClock};

use crate::place::{Place, cache_by};

/// A low limit, so that the suite need not write large values to exceed it.
const OPTIONS: &str = "max_value_bytes = '500KiB'";
const DIRECT_READS: &str = "max_value_bytes = '500KiB'\ndirect_reads = true";

fn harness(name: &str, place: Place, clock: Clock, options: &'static str) -> Harness {
    let open = move || Arc::clone(cache_by(clock.clone(), &place.path, options).backend());
    Harness::new(name, open).may_clear_store()
}

fn machine_clock() -> Harness {
    harness("file", Place::new(), Clock::system(), OPTIONS)
}

fn tmpfs() -> Harness {
    harness("tmpfs", Place::in_tmpfs(), Clock::system(), OPTIONS)
}

fn fake_clock_and_direct_reads() -> Harness {
    let time = FakeClock::new();
    harness("direct", Place::new(), time.clock(), DIRECT_READS).clock(time)
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
async fn store_conforms_in_a_tmpfs() {
    run_backend(tmpfs()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_conforms_in_a_tmpfs() {
    run_cache(tmpfs()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_a_fake_clock_and_direct_reads() {
    run_backend(fake_clock_and_direct_reads()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_conforms_with_a_fake_clock_and_direct_reads() {
    run_cache(fake_clock_and_direct_reads()).await;
}
