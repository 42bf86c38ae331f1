//! Settings, servers, and a client of another program.

use std::sync::Arc;

use cache_core::{Cache, Caches, store::Backend, testing::FakeClock};
use cache_db as _;
pub(crate) use fault_tests::{
    LONG, NO_BREAKER, is_outage, slowly_by, timed, timed_by, until, until_by,
};
use test_servers::{Postgres, Server as _};
use tokio_postgres::{Client, NoTls};

/// A slow machine fails no test: the deadlines are long, and the default lifetime, which is five
/// minutes otherwise, does not end while a test runs.
pub(crate) const PATIENT: &str =
    "deadline = \"20s\"\nconnect_deadline = \"20s\"\ntimeout = \"never\"\n";

/// Returns the settings of one cache.
pub(crate) fn toml(location: &str, more: &str) -> String {
    format!("[caches.default]\nbackend = \"db\"\nlocation = \"{location}\"\n{more}\n")
}

/// Builds a cache.
pub(crate) fn cache(location: &str, more: &str) -> Cache {
    let caches = Caches::from_toml(&toml(location, more)).unwrap();
    caches.get("default").unwrap().clone()
}

/// Builds a cache whose deadlines follow a clock that the test moves.
pub(crate) fn cache_by(clock: &FakeClock, location: &str, more: &str) -> Cache {
    let caches = Caches::builder().clock(clock.clock()).toml(&toml(location, more)).unwrap();
    caches.build().unwrap().get("default").unwrap().clone()
}

/// Builds the store of a cache.
pub(crate) fn store(location: &str, more: &str) -> Arc<dyn Backend> {
    cache(location, more).backend().clone()
}

/// Returns options of a cache, which come after all other settings.
pub(crate) fn options(more: &str) -> String {
    format!("{PATIENT}[caches.default.options]\n{more}\n")
}

/// Connects to the server as another program does.
pub(crate) async fn raw(server: &Postgres) -> Client {
    raw_as(&server.url()).await
}

pub(crate) async fn raw_as(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Returns the server's URL for another user, another database, or with parameters.
pub(crate) fn url(server: &Postgres, user: &str, rest: &str) -> String {
    format!("postgres://{user}@{}/{rest}", server.address())
}

/// Returns a number that the server answers.
pub(crate) async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}
