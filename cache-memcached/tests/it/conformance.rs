//! The conformance suite, for the store and for a cache over it.

use std::slice;

use cache_conformance::{Harness, run_backend, run_cache};
use test_servers::Memcached;

use crate::support::{at, servers, store};

/// Values are too large at a size that costs little, and a slow machine does not fail the suite.
const MORE: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nmax_value_bytes = \"500KiB\"\n";

fn harness(name: &str, location: Vec<String>) -> Harness {
    Harness::new(name, move || store(&location, MORE)).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_server_conforms() {
    let servers = servers(1);
    run_backend(harness("one", at(&servers))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_a_single_server_conforms() {
    let servers = servers(1);
    run_cache(harness("one", at(&servers))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_servers_conform() {
    let servers = servers(3);
    run_backend(harness("three", at(&servers))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_three_servers_conforms() {
    let servers = servers(3);
    run_cache(harness("three", at(&servers))).await;
}

/// The server accepts exactly what the settings allow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_with_a_small_item_size_conforms() {
    let server = Memcached::options().item_size(512).start().unwrap();
    run_backend(harness("small items", at(slice::from_ref(&server)))).await;
}

/// The server accepts less than the settings allow, and rejects values itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_a_server_with_a_smaller_limit_than_the_settings_conforms() {
    let server = Memcached::options().item_size(512).start().unwrap();
    let location = at(slice::from_ref(&server));
    let more = MORE.replace("500KiB", "600KiB");
    let harness = Harness::new("smaller items", move || store(&location, &more));
    let harness = harness.may_clear_store().skip(
        "check_and_close_succeed_at_any_time",
        "here `check` says that the settings allow more than the server takes",
    );
    let harness = harness.skip(
        "size_limit_counts_the_callers_bytes",
        "here the server refuses values that the settings allow",
    );
    run_cache(harness).await;
}

/// All stored values fit, because they are small.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_with_little_memory_conforms() {
    let server = Memcached::options().memory(8).start().unwrap();
    let harness = harness("little memory", at(slice::from_ref(&server))).skip(
        "batches_of_large_values_are_complete",
        "together they do not fit this server, which evicts",
    );
    run_backend(harness).await;
}
