//! A store for `cache_core` as a third party writes it: `backend = "redb"`, a file of the embedded
//! database [`redb`].
//!
//! It uses the public API alone; the book's chapter "Writing a store" explains it. Entries outlive
//! the process, and one process at a time can open the file.
//!
//! ```toml
//! [caches.default]
//! backend = "redb"
//! location = "cache.redb"       # the file, in a folder that exists; aliases of one file share the store
//!
//! [caches.default.options]
//! max_entries = 100000          # the default; a full store removes the entries that expire first
//! max_value_bytes = "16MiB"     # the default; a larger value is `TooLarge`
//! durable = true                # the default: a write is on the disk when its call returns; `false` is faster,
//!                               # and a crash may undo the last writes and deletes
//! ```

mod driver;
mod engine;
mod options;
mod store;
mod tables;

pub use self::{driver::DRIVER, options::Options, store::Redb};
