//! The file store of [`cache_core`]: `backend = "file"`.
//!
//! A program registers it with `use cache_file as _;` and configures it in the settings:
//!
//! ```toml
//! [caches.default]
//! backend = "file"
//! location = "/var/cache/shop"      # for this cache alone; created if it does not exist
//! key_prefix = "shop"
//!
//! [caches.default.options]
//! max_entries = 1000000             # the default
//! max_bytes = "1GiB"                # the default; disk space, in blocks of 4 KiB
//! max_value_bytes = "16MiB"         # the default here; a larger value is `TooLarge`
//! direct_reads = false              # true: reads from the disk block the caller's thread
//! threads = 8                       # the maximum for reads, and for writes
//! ```
//!
//! ```
//! use cache_core::{Caches, secs};
//! use cache_file as _;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
//! # #[cfg(unix)] {
//! # let directory = tempfile::tempdir().unwrap();
//! # let location = directory.path().display();
//! let toml = format!("caches.default = {{ backend = 'file', location = '{location}' }}");
//! let caches = Caches::from_toml(&toml)?;
//! caches.get("default")?.set("user:1", &("Ada", 36), secs(60)).await?;
//!
//! // Another process reads the same value.
//! let caches = Caches::from_toml(&toml)?;
//! let ada: Option<(String, u8)> = caches.get("default")?.get("user:1").await?;
//! assert_eq!(ada, Some(("Ada".to_owned(), 36)));
//! # }
//! # Ok(()) }
//! ```
//!
//! # Promises
//! - **The whole contract, across processes**: every operation on a key is one step. A writer holds
//!   the lock of the key's folder, and waits for it no longer than the deadline.
//! - **Readers do not wait for writers** and never see a torn value: a checksum shows that a write
//!   has interfered, and the reader tries again.
//! - **A read from memory stays on the caller's thread**, on Linux. A call that may wait runs on a
//!   thread of the store, unless `direct_reads` is set.
//! - **A kill at any point** leaves the old value, the new value or a miss. A damaged entry is a
//!   miss that is counted.
//! - **The store is bounded** by entries and by disk space, and a write costs the same however many
//!   entries the store has.
//! - **Only the owner** can read the files, and the store touches nothing outside of its directory.
//!
//! # File format
//! The path of an entry is `93/622b50b45b7980f36e75a95f3b4c5a`: the 128-bit XXH3 hash of the stored
//! key in hex, with the first two digits as the folder. Numbers are little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 0–3 | `ff 63 63 68`, which identifies the format |
//! | 4 | version of the format: 1 |
//! | 5 | 1 if the entry is complete, 0 while it is being written |
//! | 6–7 | length of the key |
//! | 8–15 | XXH3 (64 bits) of bytes 16 to the end of the key, with bytes 0–7 as the seed |
//! | 16–23 | length of the value |
//! | 24–31 | expiry time in milliseconds since 1970; 0 is never |
//! | 32–39 | a stamp: a number that differs for each write |
//! | 40–47 | XXH3 (64 bits) of the value |
//! | 48– | the key, followed by the value. The rest of a longer old value may follow |
//!
//! An empty file is an entry that was never written. The file `counts`, beside the folders, has 16
//! bytes for each folder: the number of its entries (4 bytes), a checksum (4) and their disk space
//! (8). The folder `spare` holds a few files of removed entries, which new entries will overwrite.
//! They still have their old content, but the store never reads it.
//!
//! On Windows, building a store fails with `Unsupported`.

#[cfg(unix)]
mod bounds;
#[cfg(unix)]
mod check;
#[cfg(unix)]
mod clear;
#[cfg(unix)]
mod counter;
#[cfg(unix)]
mod counters;
#[cfg(unix)]
mod directory;
mod driver;
#[cfg(unix)]
mod entry_file;
#[cfg(unix)]
mod entry_path;
#[cfg(unix)]
mod error;
#[cfg(unix)]
mod eviction;
#[cfg(unix)]
mod expiry;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod folder_lock;
#[cfg(unix)]
mod header;
#[cfg(unix)]
mod nowait;
mod options;
#[cfg(unix)]
mod probe;
#[cfg(unix)]
mod recycler;
#[cfg(unix)]
mod remove;
#[cfg(unix)]
mod rename;
#[cfg(unix)]
mod root;
#[cfg(unix)]
mod shared;
#[cfg(unix)]
mod spare_folder;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod sweeper;
#[cfg(all(test, unix))]
mod tests;
#[cfg(unix)]
mod verify;
#[cfg(unix)]
mod write;

pub use self::driver::DRIVER;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
