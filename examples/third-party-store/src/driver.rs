//! The driver: builds the store from the settings.

use std::sync::Arc;

use cache_core::{
    Driver, Result,
    store::{Backend, BuildContext, Offload},
};

use crate::{
    options::Options,
    store::{NAME, Redb},
};

// ANCHOR: driver
/// The driver of `backend = "redb"`, in programs that contain `use third_party_store as _;`.
pub const DRIVER: Driver = Driver::new(NAME, build);

cache_core::register_driver!(DRIVER);
// ANCHOR_END: driver

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
