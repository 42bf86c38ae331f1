//! Registration of the store: `backend = "file"` in the settings.

use std::sync::Arc;

#[cfg(unix)]
use cache_core::store::Offload;
use cache_core::{
    Driver, Result,
    store::{Backend, BuildContext},
};
#[cfg(not(unix))]
use cache_core::{Error, ErrorKind};

use crate::options::{NAME, Plan};
#[cfg(unix)]
use crate::store::File;

/// The driver of `backend = "file"`. A program registers it with `use cache_file as _;`.
///
/// ```
/// assert_eq!(cache_file::DRIVER.name(), "file");
/// ```
pub const DRIVER: Driver = Driver::new(NAME, build);

cache_core::register_driver!(DRIVER);

#[cfg(unix)]
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let plan = Plan::read(context)?;
    let place = plan.path.to_string_lossy().into_owned();
    // Aliases of one directory share a store with its threads.
    let store = context.shared_store(&place, &plan, Plan::difference, || {
        let store = File::new(plan.clone(), context.clock().clone());
        // Reads have their own threads, because writes may wait for the lock of a stopped process.
        let store = Offload::new(store, plan.threads).read_threads(plan.threads);
        Ok(store.nowait_reads().direct_reads(plan.direct_reads))
    })?;
    Ok(store)
}

/// Checks the settings like on other systems, then refuses them.
#[cfg(not(unix))]
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    Plan::read(context)?;
    Err(Error::new(
        ErrorKind::Unsupported,
        "unsupported platform: backend \"file\" needs the file locks and permissions of Linux or \
         macOS; use memory, redis, memcached or db",
    ))
}
