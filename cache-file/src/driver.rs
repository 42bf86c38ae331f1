//! `backend = "file"` in the settings.

use std::sync::Arc;

#[cfg(unix)]
use cache_core::store::Offload;
use cache_core::{
    Driver, Result,
    store::{Backend, BuildContext},
};
#[cfg(not(unix))]
use cache_core::{Error, ErrorKind};

use crate::options::Plan;
#[cfg(unix)]
use crate::store::File;

/// `backend = "file"`. Found by itself in a program that says `use cache_file as _;`.
///
/// ```
/// assert_eq!(cache_file::DRIVER.name(), "file");
/// ```
pub const DRIVER: Driver = Driver::new("file", build);

cache_core::register_driver!(DRIVER);

#[cfg(unix)]
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let plan = Plan::read(context)?;
    let place = plan.path.to_string_lossy().into_owned();
    // Aliases that name one directory share its threads, too.
    let store = context.shared_store(&place, &plan, Plan::difference, || {
        let store = File::new(plan.clone(), context.clock().clone());
        // Writes may wait for a lock that a stopped process holds, and reads go on meanwhile.
        let store = Offload::new(store, plan.threads).read_threads(plan.threads);
        Ok(store.direct_reads(plan.direct_reads))
    })?;
    Ok(store)
}

/// The settings are checked as everywhere.
#[cfg(not(unix))]
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    Plan::read(context)?;
    Err(Error::new(
        ErrorKind::Unsupported,
        "backend \"file\" needs the locks and permissions of Linux or macOS; use memory, redis, memcached or db here",
    ))
}
