//! The conformance suite, for the store and for a cache over it.

use cache_conformance::{Harness, run_backend, run_cache};
use test_servers::Postgres;

use crate::support::{options, store};

/// Values are refused at a small size, to save time.
fn harness(name: &str, server: &Postgres, more: &str) -> Harness {
    let (location, more) =
        (server.url(), options(&format!("max_value_bytes = \"500KiB\"\n{more}")));
    Harness::new(name, move || store(&location, &more)).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_store_conforms() {
    let server = Postgres::start().unwrap();
    run_backend(harness("postgres", &server, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_postgres_conforms() {
    let server = Postgres::start().unwrap();
    run_cache(harness("postgres", &server, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn unlogged_table_with_one_connection_conforms() {
    let server = Postgres::start().unwrap();
    let more = "unlogged = true\nconnections = 1\ntable = 'a \"table\"; --'";
    run_backend(harness("unlogged", &server, more)).await;
}

/// Here any statement may have to run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_with_serializable_transactions_conforms() {
    let settings = ["default_transaction_isolation=serializable"];
    let server = Postgres::start_with(&settings).unwrap();
    run_backend(harness("serializable", &server, "")).await;
}
