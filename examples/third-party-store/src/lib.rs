//! A store for `cache_core` that is not of its project: `backend = "redb"`, a file by the embedded database [`redb`].
//!
//! It shows what a third party writes, with nothing but what is public; the book's chapter "Writing a store" walks
//! through it. Entries outlive the process; one process at a time has the file.
//!
//! ```toml
//! [caches.default]
//! backend = "redb"
//! location = "cache.redb"       # the file; its folder must exist. Aliases of one file share the store
//!
//! [caches.default.options]
//! max_entries = 100000          # the default; when it is full, what would expire first goes first
//! max_value_bytes = "16MiB"     # the default; a larger value is `TooLarge`
//! durable = true                # the default: a write is on the disk when its call returns. `false` is faster,
//!                               # and a crash may undo the last writes, deletes among them
//! ```

mod driver;
mod engine;
mod store;
mod tables;

pub use self::{
    driver::{DRIVER, Options},
    store::Redb,
};
