//! The memcached store of [`cache_core`]: `backend = "memcached"`.
//!
//! A program links this crate by one line, `use cache_memcached as _;`, and configures it by
//! settings:
//!
//! ```toml
//! [caches.default]
//! backend = "memcached"
//! location = ["10.0.0.1:11211", "10.0.0.2:11211"]   # or one string: "a:11211; b:11211"
//!                                                    # or unix:///run/memcached.sock
//! key_prefix = "shop"
//!
//! [caches.default.options]
//! # weights = [1, 2]              # in the order of the location; 1 if unset
//! # when_down = "miss"            # or "next": the next server takes the keys
//! # connections = 1               # to each server, per runtime
//! # max_value_bytes = "1048064B"  # below the server's own item limit (-I)
//! # username = "shop"             # if the server has a file of users (-Y)
//! # password = "${MEMCACHED_PASSWORD}"
//! # tls = { ca_file = "ca.pem" }  # feature `tls`, if the server encrypts (-Z)
//! ```
//!
//! ```no_run
//! use cache_core::{Caches, secs};
//! use cache_memcached as _;
//!
//! # async fn run() -> cache_core::Result<()> {
//! let caches = Caches::from_toml(r#"
//!     [caches.default]
//!     backend = "memcached"
//!     location = "127.0.0.1:11211"
//! "#)?;
//! let cache = caches.get("default")?;
//! cache.set("user:1", &("Ada", 36), secs(60)).await?;
//! assert!(cache.has_key("user:1").await?);
//! # Ok(()) }
//! ```
//!
//! Requires memcached 1.6.18 or later, because the store uses only the meta protocol.
//!
//! # What is promised
//! - **The whole contract.** The store emulates the operations that memcached does not have: signed
//!   counters, lifetimes that are never shorter than requested, atomic `add`, `replace`, `pop` and
//!   `update` by compare-and-swap, and `clear` of one prefix without `flush_all`.
//! - **Weighted rendezvous hashing** selects the server of a key, with the same result in every
//!   process and release. A server that joins or leaves moves only the keys that it gains or had.
//! - **A server that is down** does not affect the others: each server has its own breaker, and
//!   each key of a batch has its own result.
//! - **One connection to each server** carries the commands of all calls, in order. Commands about
//!   one key are executed in the order in which they were sent, those of dropped calls too.
//! - **No call receives the reply to another call.** Commands and replies carry a number. After an
//!   unexpected reply, the connection is reset and never used again.
//! - **A future that is not polled blocks no other call**: it holds no connection and no lock.

mod added;
mod address;
mod batch;
mod clear;
mod command;
mod connection;
mod connector;
mod counter;
mod decoder;
mod driver;
mod error;
mod generation;
mod key;
mod lifetime;
mod login;
mod moment;
mod options;
mod outcome;
mod pool;
mod recent;
mod rename;
mod reply;
mod ring;
mod server;
mod server_errors;
mod snapshot;
mod store;
mod tries;

pub use self::driver::DRIVER;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
