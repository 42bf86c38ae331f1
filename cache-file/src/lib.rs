//! The file store of [`cache_core`]: `backend = "file"`.
//!
//! A program links this crate by naming it once, `use cache_file as _;`, and the settings do the rest:
//!
//! ```toml
//! [caches.default]
//! backend = "file"
//! location = "/var/cache/shop"      # a directory for this cache alone; it is made if it is not there
//! key_prefix = "shop"
//!
//! [caches.default.options]
//! max_entries = 1000000             # the default
//! max_bytes = "1GiB"                # the default; the room on the disk, in blocks of 4 KiB
//! max_value_bytes = "16MiB"         # the default here; a larger value is `TooLarge`
//! direct_reads = false              # true: reads on the caller's thread
//! threads = 8                       # the most for reads, and as many for writes
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
//! // Another process, say.
//! let caches = Caches::from_toml(&toml)?;
//! let ada: Option<(String, u8)> = caches.get("default")?.get("user:1").await?;
//! assert_eq!(ada, Some(("Ada".to_owned(), 36)));
//! # }
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! - **The whole contract, among processes**: every operation on a key is one step. Who writes holds the lock of the key's folder, and waits
//!   for it no longer than the deadline.
//! - **Readers wait for nobody** and never see a torn value: a checksum tells if a writer came between.
//! - **A kill at any point** leaves the old value, the new one or a miss. Damage is a miss that is counted.
//! - **It is bounded**, by entries and by bytes on the disk, and a write costs the same however many entries there are.
//! - **The owner alone** can read it, and nothing outside of the directory is touched.
//!
//! # A file, byte by byte
//! `93/622b50b45b7980f36e75a95f3b4c5a`: the 128-bit XXH3 hash of the stored key in hex, of which two digits are the folder. Numbers
//! have their low byte first.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `ff 63 63 68`, by which it is known |
//! | 4 | version of the layout, 1 |
//! | 5 | 1 if the entry is whole, 0 while it is being written |
//! | 6–7 | length of the key |
//! | 8–15 | XXH3 (64 bits) of bytes 16 to the end of the key, with bytes 0–7 as the seed |
//! | 16–23 | length of the value |
//! | 24–31 | when it expires, in milliseconds since 1970; 0 is never |
//! | 32–39 | a number that is another one for each write |
//! | 40–47 | XXH3 (64 bits) of the value |
//! | 48– | the key, and after it the value. What may follow is left of a longer value |
//!
//! A file of no bytes is an entry that was never written. `counts`, beside the folders, has for each of them 16 bytes: its entries
//! (4 bytes), a checksum (4) and the bytes that their blocks take (8). In `spare` are a few files whose entries are gone, for new ones: what is in
//! them was an entry once, and is read by nobody.
//!
//! On Windows the settings are refused with `Unsupported`.

#[cfg(unix)]
mod clear;
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
mod header;
#[cfg(unix)]
mod location;
mod options;
#[cfg(unix)]
mod probe;
#[cfg(unix)]
mod recycler;
#[cfg(unix)]
mod shared;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod sweeper;
#[cfg(unix)]
mod verify;

pub use self::driver::DRIVER;
