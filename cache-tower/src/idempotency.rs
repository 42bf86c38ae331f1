//! Answers a repeated request with the stored response: the `Idempotency-Key` header
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A client that gets no answer to a `POST` does not know whether it was executed. With a key of
//! its own in each request it can send the request again: the service runs once, in whichever
//! process, and each repetition gets the first response.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
//! use axum::{Router, body::Body, routing::post};
//! use cache_core::Cache;
//! use cache_memory::Memory;
//! use cache_tower::idempotency::IdempotencyLayer;
//! use http::{Request, StatusCode};
//! use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
//! use tower::ServiceExt as _;
//!
//! static PAYMENTS: AtomicU32 = AtomicU32::new(0);
//!
//! #[derive(Clone)]
//! struct User(u64);
//!
//! let cache = Cache::new("test", Memory::new());
//! // Keys of two users are never the same key.
//! let layer = IdempotencyLayer::new(&cache, |parts| {
//!     parts.extensions.get::<User>().map(|user| user.0.to_string())
//! });
//! let app: Router = Router::new()
//!     .route("/payments", post(async || format!("payment {}", PAYMENTS.fetch_add(1, SeqCst) + 1)))
//!     .layer(layer.required());
//!
//! let request = || {
//!     let request = Request::post("/payments").extension(User(7));
//!     let key = "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"";
//!     request.header("idempotency-key", key).body(Body::from("100 EUR")).unwrap()
//! };
//! let first = app.clone().oneshot(request()).await.unwrap();
//! let second = app.oneshot(request()).await.unwrap();
//! assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
//! assert_eq!(second.headers()["idempotent-replayed"], "true");
//! let body = axum::body::to_bytes(second.into_body(), 100).await.unwrap();
//! assert_eq!(body, "payment 1");
//! # Ok(()) }
//! ```

mod body;
mod claim;
mod execution;
mod layer;
mod problem;
mod record;
mod request;
mod settings;

pub use self::{
    body::IdempotencyBody,
    layer::{IdempotencyLayer, IdempotencyService},
};
