//! `backend = "file"` in the settings.

use std::sync::Arc;

use cache_core::{Backend, BuildContext, Driver, Offload, Result};

use crate::{options::Plan, store::File};

/// `backend = "file"`. Found by itself in a program that says `use cache_file as _;`.
///
/// ```
/// assert_eq!(cache_file::DRIVER.name(), "file");
/// ```
pub const DRIVER: Driver = Driver::new("file", build);

cache_core::register_driver!(DRIVER);

/// Aliases that name one directory share its threads, too.
fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let plan = Plan::read(context)?;
    let place = plan.path.to_string_lossy().into_owned();
    let store = context.shared_store(&place, &plan, || {
        let (threads, direct_reads) = (plan.threads, plan.direct_reads);
        let store = File::new(plan.clone(), context.clock().clone());
        Ok(Offload::new(store, threads).direct_reads(direct_reads))
    })?;
    Ok(store)
}
