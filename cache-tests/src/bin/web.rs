//! One of several processes of a web service on a store: `web SETTINGS TASK COUNT`.

use std::{future, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use axum::{Router, body::Body, http::Request, routing::post};
use cache_core::{Cache, Caches};
use cache_tests as _;
use cache_tower::{
    idempotency::IdempotencyLayer,
    rate_limit::{Limiter, RateLimit},
};
use tower::ServiceExt as _;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, settings, task, count] = args.as_slice() else { bail!("web SETTINGS TASK COUNT") };
    let caches = Caches::from_toml(settings)?;
    let cache = caches.get("default")?;
    let count = count.parse().context("COUNT")?;
    // So long that the time of a test is nothing.
    let year = Duration::from_secs(365 * 86_400);
    match task.as_str() {
        "fixed" => limit(cache, RateLimit::fixed_window(LIMIT, year), count).await,
        "sliding" => limit(cache, RateLimit::sliding_window(LIMIT, year), count).await,
        "gcra" => limit(cache, RateLimit::gcra(LIMIT, year), count).await,
        "hang" => pay(cache, count, true).await,
        "pay" => pay(cache, count, false).await,
        other => bail!("unknown task {other}"),
    }
}

/// The limit of all processes together.
const LIMIT: u32 = 100;

/// Prints for each of `count` requests whether it may pass.
async fn limit(cache: &Cache, rule: RateLimit, count: u64) -> Result<()> {
    let limiter = Limiter::deny_on_failure(cache, "processes", rule)?;
    for _ in 0..count {
        let decision = limiter.check("ada").await?;
        if decision.store_failed {
            bail!("the store failed");
        }
        print(&u8::from(decision.allowed).to_string())?;
    }
    Ok(())
}

/// Sends a request with one key to a service of this process, which prints `paid`, and prints the
/// response. The lease of the key takes this many seconds.
async fn pay(cache: &Cache, lease: u64, hangs: bool) -> Result<()> {
    let handler = async move || {
        print("paid").map_err(|it| it.to_string())?;
        if hangs {
            future::pending::<()>().await;
        }
        Ok::<_, String>(format!("by {hangs}"))
    };
    let layer = IdempotencyLayer::new(cache, |_| Some("ada".into()));
    let layer = layer.lease(Duration::from_secs(lease)).wait(Duration::from_secs(60));
    let app: Router = Router::new().route("/", post(handler)).layer(layer);
    let request = Request::post("/").header("idempotency-key", "\"k\"").body(Body::empty())?;
    let response = app.oneshot(request).await?;
    let is_replayed = response.headers().contains_key("idempotent-replayed");
    let body = axum::body::to_bytes(response.into_body(), 1000).await?;
    print(&format!("{} replayed: {is_replayed}", String::from_utf8_lossy(&body)))
}

fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
