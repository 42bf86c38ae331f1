//! The memo of requests on axum.

#![cfg(feature = "memo")]
#![allow(missing_docs)]

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use cache_core::{
    Cache, Timeout,
    layer::Operation,
    testing::{Faulty, Model},
};
use cache_tower::memo::RequestMemoLayer;
use tower::ServiceExt;

/// Reads the user, as code does that checks rights.
async fn check(State(cache): State<Cache>, request: Request, next: Next) -> Response {
    let _: Option<String> = cache.get("user:7").await.unwrap();
    next.run(request).await
}

async fn show(State(cache): State<Cache>, Path(spawns): Path<bool>) -> String {
    let user: Option<String> = if spawns {
        tokio::spawn(async move { cache.get("user:7").await }).await.unwrap().unwrap()
    } else {
        cache.get("user:7").await.unwrap()
    };
    user.unwrap_or_default()
}

fn app(cache: &Cache) -> Router {
    Router::new()
        .route("/{spawns}", get(show))
        .route_layer(from_fn_with_state(cache.clone(), check))
        .layer(RequestMemoLayer::new())
        .with_state(cache.clone())
}

async fn status(app: &Router, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn middleware_and_handler_of_a_request_share_its_reads() {
    let store = Faulty::new(Model::default());
    let cache = Cache::new("test", Arc::new(store.clone()));
    cache.set("user:7", "Ada", Timeout::Never).await.unwrap();
    let app = app(&cache);
    for request in 1..=3 {
        assert_eq!(status(&app, "/false").await, 200);
        assert_eq!(store.calls(Operation::Get), request);
    }
    assert_eq!(status(&app, "/true").await, 200);
    assert_eq!(store.calls(Operation::Get), 5, "a spawned task is not in the scope");
}

#[tokio::test]
async fn concurrent_requests_have_their_own_scopes() {
    let store = Faulty::new(Model::default());
    let cache = Cache::new("test", Arc::new(store.clone()));
    let app = app(&cache);
    let held = store.hold(Operation::Get);
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { status(&app, "/false").await })
        })
        .collect();
    store.arrived(Operation::Get, 20).await;
    held.release();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(store.calls(Operation::Get), 20);
}
