//! The other layers of `cache-tower`, each beside the same service without it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::{Router, http::StatusCode, routing::get};
use cache_core::Cache;
use cache_memory::Memory;
use cache_tower::{
    idempotency::IdempotencyLayer,
    memo::RequestMemoLayer,
    rate_limit::{ClientKey, Limiter, RateLimit, RateLimitLayer},
    session::CacheSessionStore,
};
use tokio::runtime::Builder;
use tower_sessions::{Session, SessionManagerLayer, session::Id};

use super::server::{CONNECTIONS, Server};
use crate::harness::{Bench, Case, Contest, Unit};

const GREETING: &str = "hello";
const USER: &str = "user";
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let cache = || Cache::new("bench", Memory::new());
    let plain = || Router::new().route("/", get(async || GREETING).post(async || GREETING));
    let rule = [
        ("rate_limit_fixed_window", RateLimit::fixed_window(u32::MAX, MINUTE)),
        ("rate_limit_gcra", RateLimit::gcra(u32::MAX, MINUTE)),
    ];
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (case, rule) in rule {
        let limiter = Limiter::deny_on_failure(&cache(), "bench", rule)?;
        let by_client = ClientKey::from_fn(|_| Some("ada".to_owned()));
        let layer = RateLimitLayer::new(limiter, by_client);
        beside(bench, case, request, plain().layer(layer), plain())?;
    }
    beside(bench, "request_memo", request, plain().layer(RequestMemoLayer::new()), plain())?;

    let key = "POST / HTTP/1.1\r\nhost: localhost\r\nidempotency-key: \"one\"\r\ncontent-length: 0\r\n\r\n";
    // The first requests of all connections come at once.
    let once = IdempotencyLayer::new(&cache(), |_| Some("ada".to_owned())).wait(MINUTE);
    beside(bench, "idempotent_replay", key, plain().layer(once), plain())?;

    let store = CacheSessionStore::new(&cache());
    let id = Builder::new_current_thread().build()?.block_on(log_in(store.clone()))?;
    let reads = get(async |session: Session| {
        session.get::<u64>(USER).await.map(|_| GREETING).map_err(|_| StatusCode::UNAUTHORIZED)
    });
    let with = Router::new().route("/", reads).layer(SessionManagerLayer::new(store));
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\ncookie: id={id}\r\n\r\n");
    beside(bench, "session_read", &request, with, plain())
}

/// Stores a session, and returns its id.
async fn log_in(store: CacheSessionStore) -> Result<Id> {
    let session = Session::new(None, Arc::new(store), None);
    session.insert(USER, 1_u64).await?;
    session.save().await?;
    session.id().context("the session has no id")
}

/// Compares a service with a layer with the same one without it.
fn beside(
    bench: &mut Bench<'_>,
    case: &'static str,
    request: &str,
    with: Router,
    without: Router,
) -> Result<()> {
    if !bench.wants(case) {
        return Ok(());
    }
    let servers = [
        Server::start("cache-tower", request.as_bytes(), with)?,
        Server::start("no_layer", request.as_bytes(), without)?,
    ];
    let sides = servers.iter().map(Server::side).collect();
    let case = Case::new(case, Unit::PerSecond, GREETING.len());
    let case = case.on_runtime("multi_thread", CONNECTIONS).with_cpu();
    bench.run(Contest { case, sides })
}
