//! One cache API over many stores, chosen in settings: Django's low-level cache for Rust services.
//!
//! A settings file names the caches and their stores. The program links the crates of these stores.
//! The code uses [`cache()`] for the default cache, and [`CACHES`]`["alias"]` for other caches.
//!
//! ```
//! use cache_core::{CACHES, Caches, Timeout, cache, install, secs};
//! use cache_memory as _; // links the store that the settings name
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
//! install(Caches::from_toml(r#"
//!     [caches.default]
//!     backend = "memory"
//!     timeout = "5m"
//!
//!     [caches.sessions]
//!     backend = "memory"
//!     timeout = "never"
//! "#)?)?;
//!
//! cache().set("user:1", &("Ada", 36), secs(60)).await?;
//! let ada: Option<(String, u8)> = cache().get("user:1").await?;
//! assert_eq!(ada, Some(("Ada".to_owned(), 36)));
//!
//! let report = cache().get_or_set("report", secs(3600), || async { 42 }).await?;
//! assert_eq!(report, 42);
//! CACHES["sessions"].set("s", "t", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! # Overview
//! - [`Cache`] has all operations. Its page describes what happens when the store fails.
//! - [`Cache::blocking`] returns a handle without async, for programs without a runtime and for
//!   threads that may wait.
//! - [`Keyspace`] declares the keys, values and lifetime of one kind of entries.
//! - [`Settings`] and [`CacheSettings`] are the contents of a settings file.
//! - A store implements [`Backend`](store::Backend) or [`SyncBackend`](store::SyncBackend), and
//!   registers itself with a [`Driver`]. [`layer`] has the layers around a store.
//! - [`Error`] is the error type of all crates. [`ErrorKind`] is the part to match on.
//! - `testing` (feature `testing`) is for the tests of stores and of services.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `inventory` | yes | the registration of linked drivers; without it programs call `.driver(…)` |
//! | `long-keys` | yes | the setting `long_keys = "hash"` |
//! | `macros` | no | the attribute `#[cached]` for functions |
//! | `msgpack` | no | the setting `codec = "msgpack"` |
//! | `postcard` | no | the setting `codec = "postcard"` |
//! | `lz4` | no | the setting `compression = "lz4"` |
//! | `zstd` | no | the setting `compression = "zstd"`; compiles C |
//! | `tracing` | no | events and spans: see [`telemetry`] |
//! | `metrics` | no | counters, gauges and histograms: see [`telemetry`] |
//! | `testing` | no | the fake clock, a failing store, a model of a store |

mod bus;
mod bypass;
mod cache;
#[cfg(feature = "macros")]
mod cached_fn;
mod caches;
pub mod config;
mod consistency;
mod error;
mod fetch;
mod global;
mod key;
pub mod keyspace;
pub mod layer;
pub mod lock;
mod memo;
mod near;
mod runtime;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod timeout;
mod value;

pub use self::{
    bus::BusStats,
    bypass::Bypass,
    cache::{ArcFetch, BlockingCache, Cache, CacheBuilder, Failed, Failures, Fetch, OnOutage},
    caches::{Caches, CachesBuilder, CheckReport, DEFAULT_ALIAS},
    config::{CacheSettings, Driver, Settings},
    error::{Error, ErrorKind, Result},
    fetch::{FetchOutcome, FetchSettings, Fetched, LoadContext, Loaded, RefreshAhead, Staleness},
    global::{CACHES, CurrentCaches, GlobalCaches, cache, install},
    key::{LongKeys, MAX_KEY_LEN},
    keyspace::Keyspace,
    lock::Lock,
    memo::RequestMemo,
    near::{NearSettings, NearStats},
    runtime::{Clock, TimeSource},
    store::near_invalidation::NearInvalidation,
    telemetry::{KeyspaceStats, OperationStats, Stats},
    timeout::{IntoTimeout, Timeout, Ttl, secs},
    value::{Codec, Compression, form},
};

#[cfg(feature = "macros")]
pub use cache_macros::cached;

#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "macros")]
    pub mod cached_fn {
        pub use crate::cached_fn::*;
    }
    pub use crate::config::registry::Linked;
    pub use bytes::Bytes;
    #[cfg(feature = "inventory")]
    pub use inventory;

    pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;
}

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
