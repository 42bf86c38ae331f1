//! `backend = "memory"` in the settings.

use std::sync::Arc;

use cache_core::{
    Driver, Result,
    store::{Backend, BuildContext, Inline},
};

use crate::{Memory, limits::Limits, options, store::NAME};

/// The driver of `backend = "memory"`. A program that contains `use cache_memory as _;` finds it
/// without further registration.
///
/// ```
/// assert_eq!(cache_memory::DRIVER.name(), "memory");
/// ```
pub const DRIVER: Driver = Driver::new(NAME, build);

cache_core::register_driver!(DRIVER);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let limits = options::limits(context)?;
    let make = || Memory::with_limits(limits, context.clock().clone());
    let Some(location) = context.location()? else {
        return Ok(Arc::new(Inline::new(make()).with_objects()));
    };
    if location.contains("://") {
        let problem = "is a URL, but `backend = \"memory\"` stores in this process; choose another \
                       `backend`, or write a plain name such as \"main\", or remove the setting";
        return Err(context.error("location", problem));
    }
    let store = context.shared_store(location, &limits, Limits::difference, || Ok(make()))?;
    Ok(Arc::new(Inline::from_arc(store).with_objects()))
}
