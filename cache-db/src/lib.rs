//! The database store of [`cache_core`]: `backend = "db"`, a table in an embedded SQLite file or in
//! PostgreSQL.
//!
//! A program links this crate by naming it once, `use cache_db as _;`. The settings select it:
//!
//! ```toml
//! [caches.default]
//! backend = "db"            # or "sqlite", "postgres", which refuse the other database
//! location = "/var/cache/shop/cache.db"   # or :memory:, or postgres://user@host/database
//! key_prefix = "shop"
//! deadline = "500ms"        # the longest time that a call waits for another process
//!
//! [caches.default.options]
//! table = "cache"
//! max_bytes = "1GiB"        # about the size of the table; the oldest entries are evicted
//! # max_entries = 100000
//! # max_value_bytes = "64MiB"   # larger values are `TooLarge`; PostgreSQL: "8MiB"
//!
//! # SQLite only:
//! # synchronous = "normal"  # off | normal | full
//! # readers = 2             # threads that read
//! # direct_reads = false    # reads on the caller's thread
//! # direct_writes = false   # writes of a lone task on the caller's thread
//!
//! # PostgreSQL only (feature `postgres`):
//! # connections = 2         # to the server; one more trims and clears
//! # unlogged = false        # a faster table that is empty after a server crash
//! # notify_triggers = false # triggers report the writes of any program to near tiers
//! # username = "…"          # instead of the user in the location
//! # password = "${DB_PASSWORD}"   # instead of the password there, not percent-encoded
//! # tls = { ca_file = "…" } # also client_cert_file, client_key_file (feature `postgres-tls`)
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
