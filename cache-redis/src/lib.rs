//! The Redis and Valkey store of [`cache_core`]: `backend = "redis"`.
//!
//! A program links this crate by one line, `use cache_redis as _;`, and configures it by settings:
//!
//! ```toml
//! [caches.default]
//! backend = "redis"                       # or "valkey", an alias
//! location = "redis://127.0.0.1:6379/0"   # or rediss:// (feature `tls`), redis+unix://, a list
//! key_prefix = "shop"
//! deadline = "500ms"                      # of one round trip
//! connect_deadline = "1s"
//!
//! [caches.default.options]
//! # username = "ada"                      # instead of user and password in the URL,
//! # password = "${REDIS_PASSWORD}"        # where some characters have to be encoded
//! topology = "single"                     # single | replicas | sentinel | cluster
//! # service_name = "mymaster"             # sentinel: the name of the leader
//! # sentinel_username = "watcher"         # sentinel: the login for the Sentinels;
//! # sentinel_password = "${SENTINEL_PASSWORD}"  # the URLs have the login for the servers
//! # read_from = "leader"                  # or "replica": reads may be behind writes
//! # connections = 1                       # to each server; a key always uses the same
//! # resp = 3                              # 2 or 3; unset: 3 if the server supports it
//! # client_name = "shop-web"              # CLIENT SETNAME, shown by CLIENT LIST
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
//! Requires Redis 7.0, Valkey 7.2, or later versions. The store connects at the first call, so a
//! program also starts while its server is down.
//!
//! # What is promised
//! - **One round trip for each operation on one key**, except `update` and `upsert` (two), and
//!   loads and locks, which make several calls. A batch takes one round trip per server and
//!   thousand keys. A version move between two slots of a Cluster takes five.
//! - **No command with an unknown outcome is sent twice.** A command that the server rejected
//!   without executing it (`MOVED`, `ASK`, `TRYAGAIN`, `READONLY`, `NOSCRIPT`) is sent again to the
//!   right server.
//! - **Values are stored in plain form**: `redis-cli` shows JSON and integers, and a Django service
//!   with the same prefix and a JSON serializer can read them.
//! - **A server that does not answer** costs each call its deadline until the breaker of the server
//!   opens, then microseconds. A connection without any reply for 1.2 deadlines is replaced. Each
//!   server of a group has its own breaker.
//! - **An abandoned write is not executed later**, if the user may call `CLIENT INFO` and `CLIENT
//!   KILL` and the connection is TCP: the store resets the connection, and the server ends it
//!   before the store uses another one. Otherwise, bytes that the server's system or a proxy has
//!   received may still be executed.
//! - **Each alias and tokio runtime has its own connections.** The first call in a runtime creates
//!   them, and they end with the runtime.

mod abandoned;
mod address;
mod batch;
mod bus;
mod checkout;
mod clear;
mod connection;
mod connector;
mod decoder;
mod discovery;
mod driver;
mod encoder;
mod error;
mod freshness;
mod full_server;
mod handshake;
mod invalidations;
mod limit;
mod newer_commands;
mod node;
mod nodes;
mod options;
mod pool;
mod publishing;
mod push;
mod reply;
mod resp;
mod route;
mod script;
mod server_errors;
mod slot;
mod store;
mod stream;
mod subscription;
mod topology;
mod tracking;
mod watch;

pub use self::driver::DRIVER;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
