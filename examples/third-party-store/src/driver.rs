//! The driver: builds the store from the settings.

use std::sync::Arc;

use cache_core::{
    Driver, Result,
    config::ByteSize,
    store::{Backend, BuildContext, Offload},
};
use serde::Deserialize;

use crate::Redb;

// ANCHOR: driver
/// The driver of `backend = "redb"`, in programs that contain `use third_party_store as _;`.
pub const DRIVER: Driver = Driver::new("redb", build);

cache_core::register_driver!(DRIVER);
// ANCHOR_END: driver

// ANCHOR: options
/// The table `options` of an alias. An unknown name is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The largest number of entries in the file.
    pub max_entries: u64,
    /// The size of the largest value.
    pub max_value_bytes: ByteSize,
    /// Whether a write is on the disk when its call returns.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_entries: 100_000, max_value_bytes: ByteSize::new(16 << 20), durable: true }
    }
}
// ANCHOR_END: options

/// The store of one file, with the options of the alias that built it.
struct Place {
    store: Arc<Offload<Redb>>,
    options: Options,
}

/// The number of calls that run at the same time; further calls wait.
const THREADS: usize = 4;

// ANCHOR: build
/// Checks the settings. The file is opened by the first call.
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let Some(path) = context.location()? else {
        return Err(context.error("location", "this backend needs the path of its file"));
    };
    let options: Options = context.options()?;
    if options.max_entries == 0 {
        return Err(context.error("options.max_entries", "must be at least 1"));
    }
    let place = context.shared(path, || {
        let store = Redb::new(path, options, context.clock().clone());
        Ok(Place { store: Arc::new(Offload::new(store, THREADS)), options })
    })?;
    if place.options != options {
        return Err(context.error("options", "another alias of this file has other options"));
    }
    Ok(Arc::clone(&place.store) as _)
}
// ANCHOR_END: build
