//! The memcached store of [`cache_core`]: `backend = "memcached"`.
//!
//! A program links this crate by naming it once, `use cache_memcached as _;`, and the settings do the rest:
//!
//! ```toml
//! [caches.default]
//! backend = "memcached"
//! location = ["10.0.0.1:11211", "10.0.0.2:11211"]   # or one string: "a:11211; b:11211"
//! key_prefix = "shop"
//!
//! [caches.default.options]
//! # weights = [1, 2]              # of the servers, in the order of the location; 1 if unset
//! # when_down = "miss"            # or "next": keys of a server that is down go to the next one
//! # connections = 16              # the most to each server, by runtime
//! # max_value_bytes = "1048064B"  # a larger value is `TooLarge`; the server's own limit (-I) is 1 MiB, keys and all
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
//! Needs memcached 1.6.18 or later: it speaks the meta protocol only.
//!
//! # What is promised
//! - **The whole contract**, emulated where memcached has less: signed counters, lifetimes that are never shorter than asked, `add`,
//!   `replace`, `pop` and `update` in one step by compare-and-swap, `clear` of one prefix without `flush_all`.
//! - **A key goes to its server** by weighted rendezvous hashing, the same in every process and release. A server that joins or leaves
//!   moves only the keys it gains or had.
//! - **A server that is down** takes nobody with it: each has a breaker of its own, and each key of a batch is answered on its own.
//! - **No answer goes to another's question.** Answers carry the number of their question; a connection on which anything surprises,
//!   or whose caller was dropped, is reset and never used again.
//! - **A future that is put aside holds nothing** that other calls need: each exchange with a server is a task of its own.

mod address;
mod batch;
mod clear;
mod command;
mod connection;
mod connections;
mod counter;
mod counter_queue;
mod driver;
mod error;
mod generation;
mod lifetime;
mod options;
mod pool;
mod refusal;
mod ring;
mod server;
mod server_errors;
mod snapshot;
mod store;
mod transport;
mod tries;

pub use self::driver::DRIVER;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
