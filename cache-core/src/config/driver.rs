use std::{fmt, sync::Arc};

use super::BuildContext;
use crate::{error::Result, store::Backend};

/// How a backend crate offers itself: a name, and a function that builds a store from settings.
///
/// A backend crate has one as a `const DRIVER` and hands it to [`register_driver!`](crate::register_driver).
///
/// ```
/// use cache_core::{Caches, Driver, Result, store::{Backend, BuildContext, Inline}};
/// use cache_memory::Memory;
/// use std::sync::Arc;
///
/// fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
///     #[derive(serde::Deserialize)]
///     #[serde(deny_unknown_fields)]
///     struct Options {}
///     let Options {} = context.options()?;
///     Ok(Arc::new(Inline::new(Memory::new())))
/// }
///
/// pub const DRIVER: Driver = Driver::new("mine", build);
///
/// let caches = Caches::builder().driver(DRIVER).toml("caches.default.backend = 'mine'")?.build()?;
/// assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default"]);
/// # Ok::<_, cache_core::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Driver {
    name: &'static str,
    other_names: &'static [&'static str],
    build: Build,
}

/// Checks the settings and makes the store, without connecting: so caches can be built outside a
/// runtime, and a server that is down does not stop a service from starting.
pub type Build = fn(&BuildContext<'_>) -> Result<Arc<dyn Backend>>;

impl Driver {
    /// The driver that `backend = "name"` selects.
    pub const fn new(name: &'static str, build: Build) -> Self {
        Self { name, other_names: &[], build }
    }

    /// Adds names that mean the same.
    #[must_use]
    pub const fn with_other_names(mut self, names: &'static [&'static str]) -> Self {
        self.other_names = names;
        self
    }

    /// Its first name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Builds a store.
    pub(crate) fn build(&self, context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
        (self.build)(context)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.other_names.iter().copied())
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.name).finish()
    }
}
