//! The file store of [`cache_core`]: `backend = "file"`.

#[cfg(unix)]
mod clear;
#[cfg(unix)]
mod counters;
#[cfg(unix)]
mod cull;
#[cfg(unix)]
mod directory;
mod driver;
#[cfg(unix)]
mod error;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod header;
#[cfg(unix)]
mod inner;
#[cfg(unix)]
mod life;
#[cfg(unix)]
mod location;
#[cfg(unix)]
mod look;
#[cfg(unix)]
mod name;
mod options;
#[cfg(unix)]
mod slot;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod sweeper;

pub use self::driver::DRIVER;
