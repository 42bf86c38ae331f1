//! The in-process store of [`cache_core`]: `backend = "memory"`.
//!
//! [`Memory`] keeps bytes under keys in this process. It is bounded by entries and by bytes, gives
//! each entry its own lifetime, and performs every operation on a key atomically. A full store
//! evicts the entries that are least likely to be read again (S3-FIFO, by [`quick_cache`]).
//!
//! ```
//! use cache_core::store::{Expiry, SetMode, SyncBackend};
//! use cache_memory::Memory;
//! use std::time::Duration;
//!
//! let memory = Memory::new();
//! let minute = Expiry::After(Duration::from_secs(60));
//! assert!(memory.set("user:1", "Ada".into(), minute, SetMode::IfAbsent)?);
//! assert!(!memory.set("user:1", "Bob".into(), minute, SetMode::IfAbsent)?);
//! assert_eq!(memory.get("user:1")?, Some("Ada".into()));
//! # Ok::<_, cache_core::Error>(())
//! ```
//!
//! A program that chooses its stores in settings links this crate by naming it once,
//! `use cache_memory as _;`:
//!
//! ```toml
//! [caches.default]
//! backend = "memory"
//! location = "main"             # aliases with the same location share a store
//!                               # (without a location, each alias has its own)
//!
//! [caches.default.options]
//! max_entries = 1000000         # the default
//! max_bytes = "256MiB"          # the default; includes keys, values and bookkeeping
//! max_value_bytes = "4MiB"      # the default for this max_bytes; larger values are `TooLarge`
//! ```

mod buffer;
mod builder;
mod clear;
mod deadline;
mod driver;
mod entry;
mod evicted;
mod expiry_index;
mod key;
mod limits;
mod objects;
mod options;
mod reader;
mod rename;
mod shard_guard;
mod shards;
mod store;

pub use self::{builder::MemoryBuilder, driver::DRIVER, store::Memory};

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
