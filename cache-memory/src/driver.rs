//! `backend = "memory"` in the settings.

use std::sync::Arc;

use cache_core::{
    Driver, Result,
    config::ByteSize,
    store::{Backend, BuildContext, Inline},
};
use serde::Deserialize;

use crate::{
    Memory,
    limits::{InvalidLimit, Limits, RequestedLimits},
};

/// `backend = "memory"`. Found by itself in a program that says `use cache_memory as _;`.
///
/// ```
/// assert_eq!(cache_memory::DRIVER.name(), "memory");
/// ```
pub const DRIVER: Driver = Driver::new("memory", build);

cache_core::register_driver!(DRIVER);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "as the settings name them")]
struct Options {
    max_entries: Option<u64>,
    max_bytes: Option<ByteSize>,
    max_value_bytes: Option<ByteSize>,
}

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let limits = limits(context)?;
    let make = || Memory::with_limits(limits, context.clock().clone());
    let Some(location) = context.location()? else {
        return Ok(Arc::new(Inline::new(make())));
    };
    if location.contains("://") {
        let what = "is a URL, and the store is in this process; choose another `backend`, or write a plain name such as \
                    \"main\", or remove the setting";
        return Err(context.error("location", what));
    }
    let store = context.shared_store(location, &limits, Limits::difference, || Ok(make()))?;
    Ok(Arc::new(Inline::from_arc(store)))
}

fn limits(context: &BuildContext<'_>) -> Result<Limits> {
    let options: Options = context.options()?;
    let requested = RequestedLimits {
        max_entries: options.max_entries,
        max_bytes: options.max_bytes.map(ByteSize::bytes),
        max_value_bytes: options.max_value_bytes.map(ByteSize::bytes),
    };
    Limits::new(requested).map_err(|InvalidLimit(bound, what)| {
        context.error(&format!("options.{bound}"), format!("{bound} {what}"))
    })
}
