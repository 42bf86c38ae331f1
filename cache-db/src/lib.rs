//! The database store of [`cache_core`]: `backend = "db"`, a table in an embedded SQLite file, or in PostgreSQL.
//!
//! A program links this crate by naming it once, `use cache_db as _;`, and the settings do the rest:
//!
//! ```toml
//! [caches.default]
//! backend = "db"                          # or "sqlite", "postgres": the same
//! location = "/var/cache/shop/cache.db"   # a file, sqlite://file, :memory:, or postgres://… (feature `postgres`)
//! key_prefix = "shop"
//! deadline = "500ms"                      # the longest that a call waits for another process
//!
//! [caches.default.options]
//! table = "cache"
//! max_bytes = "1GiB"                      # about the size of the table; what is oldest goes first
//! # max_entries = 100000
//! # max_value_bytes = "64MiB"             # a larger value is `TooLarge`; PostgreSQL: "8MiB"
//! # synchronous = "normal"                # SQLite: off | normal | full
//! # readers = 2                           # SQLite: threads that read
//! # direct_reads = false                  # SQLite: reads on the caller's thread
//! # direct_writes = false                 # SQLite: writes of one task on its own thread
//! # connections = 2                       # PostgreSQL: how many to the server; one more trims and clears
//! # unlogged = false                      # PostgreSQL: a table that is faster, and empty after a crash of the server
//! # username = "…"                        # PostgreSQL: instead of the user in the location
//! # password = "${DB_PASSWORD}"           # PostgreSQL: instead of the password in the location, as it is
//! # tls = { ca_file = "…" }               # PostgreSQL: also client_cert_file, client_key_file (feature `postgres-tls`)
//! ```
//!
//! ```
//! use cache_core::{Caches, secs};
//! use cache_db as _;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let caches = Caches::from_toml(r#"
//!     [caches.default]
//!     backend = "db"
//!     location = ":memory:"
//! "#)?;
//! let cache = caches.get("default")?;
//! cache.set("user:1", &("Ada", 36), secs(60)).await?;
//! assert_eq!(cache.get("user:1").await?, Some(("Ada".to_owned(), 36)));
//! # Ok::<_, cache_core::Error>(()) }).unwrap();
//! ```

mod driver;
mod location;
mod options;
#[cfg(feature = "postgres")]
mod postgres;
mod schema;
mod sqlite;
mod table;
mod time;

pub use self::{
    driver::DRIVER,
    schema::{create_tables, create_tables_sql},
};

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
