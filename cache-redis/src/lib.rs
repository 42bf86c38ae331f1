//! The Redis and Valkey store of [`cache_core`]: `backend = "redis"`.
//!
//! A program links this crate by naming it once, `use cache_redis as _;`, and the settings do the rest:
//!
//! ```toml
//! [caches.default]
//! backend = "redis"                       # or "valkey": the same
//! location = "redis://127.0.0.1:6379/0"   # redis://, rediss:// (feature `tls`), redis+unix://; or a list
//! key_prefix = "shop"
//! deadline = "500ms"                      # the longest that a round trip may take
//! connect_deadline = "1s"
//!
//! [caches.default.options]
//! # username = "ada"                      # instead of user and password in the URL,
//! # password = "${REDIS_PASSWORD}"        # where some signs have to be encoded
//! topology = "single"                     # single | replicas | sentinel | cluster
//! # service_name = "mymaster"             # sentinel: what the Sentinels call the leader
//! # sentinel_username = "watcher"         # sentinel: how to log in at the Sentinels;
//! # sentinel_password = "${SENTINEL_PASSWORD}"  # user and password of the URLs are for the servers
//! # read_from = "leader"                  # or "replica": gives up reading one's own writes
//! # connections = 1                       # to each server; a key always takes the same one
//! # resp = 3                              # 2 or 3; unset: 3 where the server has it
//! # client_name = "shop-web"              # CLIENT SETNAME, to be seen in CLIENT LIST
//! # max_value_bytes = "512MiB"            # a larger value is `TooLarge`
//! # tls = { ca_file = "ca.pem", client_cert_file = "client.pem", client_key_file = "client.key" }
//! ```
//!
//! ```no_run
//! use cache_core::{Caches, secs};
//! use cache_redis as _;
//!
//! # async fn run() -> cache_core::Result<()> {
//! let caches = Caches::from_toml(r#"
//!     [caches.default]
//!     backend = "redis"
//!     location = "redis://127.0.0.1:6379"
//! "#)?;
//! let cache = caches.get("default")?;
//! cache.set("user:1", &("Ada", 36), secs(60)).await?;
//! assert_eq!(cache.ttl("user:1").await?.is_some(), true);
//! # Ok(()) }
//! ```
//!
//! Needs Redis 7.0 or Valkey 7.2, or later ones. Nothing connects before the first call, and a server that is down stops
//! no program from starting.
//!
//! # What is promised
//! - **One round trip per operation**, batches in one per server and thousand keys. A version move between two slots of a
//!   Cluster takes five.
//! - **Nothing is sent twice** whose first outcome is unknown. What a server has refused unexecuted (`MOVED`, `ASK`, `TRYAGAIN`,
//!   `READONLY`, `NOSCRIPT`) is sent again where it belongs.
//! - **Values are stored as they are**: `redis-cli` shows JSON and integers, and a Django service with the same prefix and a
//!   JSON serializer reads them.
//! - **A server that does not answer** costs its deadline until its breaker opens, then microseconds. A connection on which
//!   nothing was heard for 1.2 deadlines is replaced. Each server of a group has a breaker of its own.
//! - **A write that was given up on is not done later**: its connection is reset, and the server ends it (`CLIENT KILL`) before another
//!   one is used.
//! - **One pool of connections per alias and tokio runtime**, made by the first call in that runtime and gone with it.

mod abandoned;
mod address;
mod batch;
mod clear;
mod command;
mod connect;
mod discovery;
mod driver;
mod error;
mod limit;
mod line;
mod node;
mod options;
mod pool;
mod pools;
mod reply;
mod route;
mod script;
mod server_errors;
mod slot;
mod stand_in;
mod store;
mod topology;
mod transport;

pub use self::driver::DRIVER;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
