use std::{fmt, sync::Arc};

use super::BuildContext;
use crate::{error::Result, store::Backend};

/// The entry point of a backend crate: a name, and a function that builds a store from settings.
///
/// A backend crate defines a `const DRIVER` and passes it to
/// [`register_driver!`](crate::register_driver).
///
/// ```
/// use cache_core::{Caches, Driver, Result, store::{Backend, BuildContext, IntoBackend}};
/// use cache_memory::Memory;
/// use std::sync::Arc;
///
/// fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
///     #[derive(serde::Deserialize)]
///     #[serde(deny_unknown_fields)]
///     struct Options {}
///     let Options {} = context.options()?;
///     Ok(Memory::new().into_backend())
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
    schemes: &'static [&'static str],
    build: Build,
}

/// A function that checks the settings and makes the store, without connecting.
///
/// Caches can therefore be built outside a runtime, and a server that is down does not prevent a
/// service from starting.
pub type Build = fn(&BuildContext<'_>) -> Result<Arc<dyn Backend>>;

impl Driver {
    /// Creates the driver that `backend = "name"` selects.
    pub const fn new(name: &'static str, build: Build) -> Self {
        Self { name, other_names: &[], schemes: &[], build }
    }

    /// Adds alternative names for the driver.
    #[must_use]
    pub const fn with_other_names(mut self, names: &'static [&'static str]) -> Self {
        self.other_names = names;
        self
    }

    /// Declares the schemes of the URLs in `location`, such as `redis`. By them, a URL alone finds
    /// the driver: see [`CacheSettings::bus`](crate::CacheSettings::bus).
    ///
    /// ```
    /// # use cache_core::{Driver, Result, store::{Backend, BuildContext, IntoBackend}};
    /// # use std::sync::Arc;
    /// # fn build(_: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    /// #     Ok(cache_memory::Memory::new().into_backend())
    /// # }
    /// const DRIVER: Driver = Driver::new("mine", build).with_schemes(&["mine", "mines"]);
    /// assert_eq!(DRIVER.schemes(), ["mine", "mines"]);
    /// ```
    #[must_use]
    pub const fn with_schemes(mut self, schemes: &'static [&'static str]) -> Self {
        self.schemes = schemes;
        self
    }

    /// Returns the schemes of the URLs in `location`.
    pub const fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    /// Returns the first name.
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
