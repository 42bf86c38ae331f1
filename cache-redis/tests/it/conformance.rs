//! The conformance suite, for the store and for a cache over it, on every topology.

use cache_conformance::{Harness, run_backend, run_cache};
use test_servers::{Redis, Sentinel};

use crate::support::{CLUSTER, CLUSTERED, LARGE_IS_SMALL, SENTINEL, SENTINELS, store};

fn harness(name: &str, location: Vec<String>, options: &str) -> Harness {
    let more = format!("{LARGE_IS_SMALL}{options}");
    Harness::new(name, move || store(&location, &more))
}

fn sentinels() -> Vec<String> {
    SENTINELS.sentinels().iter().map(Sentinel::url).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_server_conforms() {
    let redis = Redis::start().unwrap();
    run_backend(harness("single", vec![redis.url()], "").may_clear_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_a_single_server_conforms() {
    let redis = Redis::start().unwrap();
    run_cache(harness("single", vec![redis.url()], "").may_clear_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_connections_conform() {
    let redis = Redis::start().unwrap();
    let harness = harness("4 connections", vec![redis.url()], "connections = 4\n");
    run_backend(harness.may_clear_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resp2_conforms() {
    let redis = Redis::start().unwrap();
    run_backend(harness("RESP2", vec![redis.url()], "resp = 2\n").may_clear_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_found_by_sentinels_conforms() {
    run_backend(harness("sentinel", sentinels(), SENTINEL)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_a_leader_found_by_sentinels_conforms() {
    run_cache(harness("sentinel", sentinels(), SENTINEL)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cluster_conforms() {
    run_backend(harness("cluster", CLUSTER.urls(), CLUSTERED)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_a_cluster_conforms() {
    run_cache(harness("cluster", CLUSTER.urls(), CLUSTERED)).await;
}
