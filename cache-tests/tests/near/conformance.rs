//! The conformance suite, for shared stores with a near tier and for a cache over each.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use test_servers::{Postgres, Redis};

use crate::support::cache;

/// One store: all handles share its tier, as in one process.
fn harness(location: &str, near: &str, options: &str) -> Harness {
    let more = format!(
        "deadline = '20s'\nconnect_deadline = '20s'\noptions = {{ max_value_bytes = '1MiB'{options} }}"
    );
    let store = Arc::clone(cache(location, near, &more).backend());
    Harness::new(near, move || Arc::clone(&store)).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_without_invalidation_conforms() {
    let redis = Redis::start().unwrap();
    run_backend(harness(&redis.url(), "invalidation = 'none'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_with_tracking_conforms() {
    let redis = Redis::start().unwrap();
    run_backend(harness(&redis.url(), "invalidation = 'tracking'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_with_pubsub_conforms() {
    let redis = Redis::start().unwrap();
    run_backend(harness(&redis.url(), "invalidation = 'pubsub'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_pubsub_conforms() {
    let redis = Redis::options().valkey().start().unwrap();
    run_cache(harness(&redis.url(), "invalidation = 'pubsub'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_without_invalidation_conforms() {
    let redis = Redis::start().unwrap();
    run_cache(harness(&redis.url(), "invalidation = 'none'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_tracking_conforms() {
    let redis = Redis::start().unwrap();
    run_cache(harness(&redis.url(), "invalidation = 'tracking'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_with_postgres_conforms() {
    let server = Postgres::start().unwrap();
    run_backend(harness(&server.url(), "invalidation = 'postgres'", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_with_triggers_conforms() {
    let server = Postgres::start().unwrap();
    let options = ", notify_triggers = true, table = 'an \"odd\" name'";
    run_backend(harness(&server.url(), "invalidation = 'postgres'", options)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_postgres_conforms() {
    let server = Postgres::start().unwrap();
    run_cache(harness(&server.url(), "invalidation = 'postgres'", "")).await;
}
