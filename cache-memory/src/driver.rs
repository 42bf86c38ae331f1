//! `backend = "memory"` in the settings.

use std::sync::Arc;

use cache_core::{Backend, BuildContext, ByteSize, Driver, Inline, Result};
use serde::Deserialize;

use crate::{
    Memory,
    limits::{Asked, Limits, Nonsense},
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

/// The store of a named place, and the alias that was first to name it.
struct Place {
    store: Arc<Memory>,
    limits: Limits,
    alias: String,
}

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let limits = limits(context)?;
    let make = || Memory::with_limits(limits, context.clock().clone());
    let Some(location) = context.location()? else {
        return Ok(Arc::new(Inline::new(make())));
    };
    let place = context.shared(location, || {
        Ok(Place { store: Arc::new(make()), limits, alias: context.alias().to_owned() })
    })?;
    if place.limits != limits {
        return Err(context.error(
            "options",
            format!(
                "the aliases `{}` and `{}` share one store by their location, so they must ask for the same bounds; \
                 give both the same options, or one another location",
                place.alias,
                context.alias()
            ),
        ));
    }
    Ok(Arc::new(Inline::from_arc(Arc::clone(&place.store))))
}

fn limits(context: &BuildContext<'_>) -> Result<Limits> {
    let options: Options = context.options()?;
    let asked = Asked {
        max_entries: options.max_entries,
        max_bytes: options.max_bytes.map(ByteSize::bytes),
        max_value_bytes: options.max_value_bytes.map(ByteSize::bytes),
    };
    Limits::new(asked).map_err(|Nonsense(bound, what)| {
        context.error(&format!("options.{bound}"), format!("{bound} {what}"))
    })
}
