//! A page that takes 1 ms to make, kept by caches of pages.

use std::{convert::Infallible, time::Duration};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    error_handling::HandleError,
    http::{Request, Response, StatusCode, header::CACHE_CONTROL},
};
use bytes::Bytes;
use cache_core::Cache;
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use http_body_util::Full;
use tower::{Layer as _, service_fn};

use super::{
    super::rounds::{Rounds, percentiles},
    server::{CONNECTIONS, Server},
};
use crate::harness::{Bench, Case, Contest, Unit};

const REQUEST: &[u8] = b"GET /page HTTP/1.1\r\nhost: localhost\r\n\r\n";
const LIFETIME: Duration = Duration::from_secs(3600);
const ROWS: usize = 100;
const PAGE: &str = "page";
const PERCENTILES: [&str; 2] = ["page_p50", "page_p99"];
/// The requests of one round of percentiles.
const REQUESTS: u64 = 2_000;

/// Compares the rate and the waiting times of hits.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if ![PAGE].iter().chain(&PERCENTILES).any(|it| bench.wants(it)) {
        return Ok(());
    }
    let mut servers = Vec::new();
    for (name, service) in services() {
        servers.push(Server::start(name, REQUEST, service)?);
    }
    let size = body().len();
    let case = |name, unit| Case::new(name, unit, size).on_runtime("multi_thread", CONNECTIONS);
    let sides = servers.iter().map(Server::side).collect();
    bench.run(Contest { case: case(PAGE, Unit::PerSecond).with_cpu(), sides })?;

    let names = servers.iter().map(Server::name).collect();
    let cases = PERCENTILES.map(|it| case(it, Unit::Nanos)).to_vec();
    let mut rounds = Rounds::new(names, cases);
    for _ in 0..bench.effort().rounds {
        for (place, server) in servers.iter().enumerate() {
            rounds.add(place, percentiles(server.times(REQUESTS)?, [50, 99]));
        }
    }
    rounds.tell(bench)
}

/// The contenders; ours is the first.
fn services() -> Vec<(&'static str, Router)> {
    let page = || service_fn(page);
    let ours = HttpCache::new(&Cache::new("bench", Memory::new())).layer();
    let tower_http_cache = tower_http_cache::CacheLayer::builder(
        tower_http_cache::prelude::InMemoryBackend::new(1_000),
    )
    .ttl(LIFETIME)
    .build();
    let manager = http_cache::MokaManager::new(moka::future::Cache::new(1_000));
    let tower_server = http_cache_tower_server::ServerCacheLayer::new(manager);
    let by_hand = moka::future::Cache::builder().time_to_live(LIFETIME).build();
    let by_hand = move || {
        let cache = by_hand.clone();
        async move { cache.get_with("page", async { Bytes::from(load().await) }).await }
    };
    vec![
        ("cache-tower", Router::new().route_service("/page", ours.layer(page()))),
        ("no_cache", Router::new().route_service("/page", page())),
        (
            "axum-response-cache",
            Router::new()
                .route_service("/page", page())
                .layer(axum_response_cache::CacheLayer::with_lifespan(LIFETIME)),
        ),
        (
            "tower-http-cache",
            Router::new()
                .route_service("/page", HandleError::new(tower_http_cache.layer(page()), failed)),
        ),
        (
            "http-cache-tower-server",
            Router::new()
                .route_service("/page", HandleError::new(tower_server.layer(page()), failed)),
        ),
        ("moka_by_hand", Router::new().route("/page", axum::routing::get(by_hand))),
    ]
}

async fn page(_: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from(load().await));
    let lifetime = axum::http::HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(CACHE_CONTROL, lifetime);
    Ok(response)
}

/// A service of axum has no errors.
async fn failed<E>(_: E) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn load() -> Vec<u8> {
    // sleeps: it is the measured page, which waits for a database
    tokio::time::sleep(Duration::from_millis(1)).await;
    body()
}

fn body() -> Vec<u8> {
    (0..ROWS).flat_map(|it| format!("<tr><td>{it:94}</td></tr>").into_bytes()).collect()
}
