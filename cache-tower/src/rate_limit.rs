//! Limits how often a client may call: a function and a tower layer.
//!
//! A [`Limiter`] counts in a cache, so that all processes on its store share the limit. It never
//! admits more than its [`RateLimit`] allows, however many processes and tasks call at the same
//! time. [`RateLimitLayer`] asks it before each request, and answers refused requests.
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//!
//! use axum::{Router, extract::ConnectInfo, routing::get};
//! use cache_core::Cache;
//! use cache_memory::Memory;
//! use cache_tower::rate_limit::{
//!     ClientAddress, ClientKey, Limiter, RateLimit, RateLimitLayer,
//! };
//!
//! # fn main() -> cache_core::Result<()> {
//! # let cache = Cache::new("test", Memory::new());
//! let rule = RateLimit::sliding_window(100, Duration::from_secs(60));
//! let limiter = Limiter::allow_on_failure(&cache, "api", rule)?;
//! let address = ClientAddress::of_peer(|parts| {
//!     Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip())
//! });
//! // The proxies of this service set `X-Forwarded-For`.
//! let address = address.behind_x_forwarded_for(["10.0.0.0/8"])?;
//!
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(RateLimitLayer::new(limiter, ClientKey::address(address)));
//! // `app.into_make_service_with_connect_info::<SocketAddr>()` gives the address of the peer.
//! # Ok(()) }
//! ```

mod address;
mod client_key;
mod decision;
mod fields;
mod forwarded;
mod gcra;
mod layer;
mod limiter;
mod rule;
mod sliding_window;

pub use self::{
    address::ClientAddress,
    client_key::ClientKey,
    decision::Decision,
    layer::{RateLimitLayer, RateLimitService},
    limiter::Limiter,
    rule::RateLimit,
};
