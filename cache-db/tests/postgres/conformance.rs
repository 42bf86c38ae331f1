//! The suite that every store passes, of the store and of a whole cache over it.

use cache_conformance::{Harness, run_backend, run_cache};
use test_servers::Postgres;

use crate::support::{options, store};

/// Large values are refused at a size that is no burden.
fn harness(name: &str, server: &Postgres, more: &str) -> Harness {
    let (location, more) =
        (server.url(), options(&format!("max_value_bytes = \"500KiB\"\n{more}")));
    Harness::new(name, move || store(&location, &more)).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_conforms() {
    let server = Postgres::start().unwrap();
    run_backend(harness("postgres", &server, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_on_postgres_conforms() {
    let server = Postgres::start().unwrap();
    run_cache(harness("postgres", &server, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unlogged_table_and_one_connection_conform() {
    let server = Postgres::start().unwrap();
    let more = "unlogged = true\nconnections = 1\ntable = 'a \"table\"; --'";
    run_backend(harness("unlogged", &server, more)).await;
}

/// Where every statement may have to be asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_isolates_all_transactions_conforms() {
    let settings = ["default_transaction_isolation=serializable"];
    let server = Postgres::start_with(&settings).unwrap();
    run_backend(harness("serializable", &server, "")).await;
}
