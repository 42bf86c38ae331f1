//! From the settings to the store.

use std::sync::Arc;

use cache_core::{
    Driver, Result,
    config::ByteSize,
    store::{Backend, BuildContext, Offload},
};
use serde::Deserialize;

use crate::Redb;

// ANCHOR: driver
/// `backend = "redb"`, for programs that say `use third_party_store as _;`.
pub const DRIVER: Driver = Driver::new("redb", build);

cache_core::register_driver!(DRIVER);
// ANCHOR_END: driver

// ANCHOR: options
/// The table `options` of an alias. A name that is not here is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The most entries that the file holds.
    pub max_entries: u64,
    /// The largest value.
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

/// The store of one file, and what it was asked to be.
struct Place {
    store: Arc<Offload<Redb>>,
    options: Options,
}

/// As many calls at once; more wait for their turn.
const THREADS: usize = 4;

// ANCHOR: build
/// Checks the settings and opens nothing.
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let Some(path) = context.location()? else {
        return Err(context.error("location", "this backend needs the path of its file"));
    };
    let options: Options = context.options()?;
    if options.max_entries == 0 {
        return Err(context.error("options.max_entries", "a store needs room for one entry"));
    }
    let place = context.shared(path, || {
        let store = Redb::new(path, options, context.clock().clone());
        Ok(Place { store: Arc::new(Offload::new(store, THREADS)), options })
    })?;
    if place.options != options {
        return Err(context.error("options", "another alias has this file with other options"));
    }
    Ok(Arc::clone(&place.store) as _)
}
// ANCHOR_END: build
