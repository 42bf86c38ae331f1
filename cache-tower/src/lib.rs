//! Middleware for web services over the caches of `cache-core`. Each part is a module behind a
//! feature: `http_cache` (`http-cache`), `rate_limit` (`rate-limit`), `idempotency`
//! (`idempotency`), `session` (`sessions` and `actix-session`) and `memo` (`memo`).

#[cfg(any(feature = "idempotency", feature = "rate-limit"))]
mod hex;
#[cfg(feature = "http-cache")]
pub mod http_cache;
#[cfg(feature = "idempotency")]
pub mod idempotency;
#[cfg(feature = "memo")]
pub mod memo;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
#[cfg(any(feature = "sessions", feature = "actix-session"))]
pub mod session;

/// Compiles and runs the example of the README.
#[cfg(all(doctest, feature = "rate-limit"))]
#[doc = include_str!("../README.md")]
struct Readme;
