//! The functions with `#[cached]`, so that `check` finds the aliases that they name.

use crate::{
    cache::Cache,
    error::{Error, ErrorKind, Result},
};

/// A function with `#[cached]`, and its demands on its cache.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// The name in messages.
    pub name: &'static str,
    /// The alias of the cache.
    pub alias: &'static str,
    /// The namespace of the keys.
    pub namespace: Option<&'static str>,
    /// The version of the keys, if it is not that of the alias.
    pub version: Option<i64>,
    /// Whether values have tags.
    pub tags: bool,
    /// Whether values have a grace.
    pub grace: bool,
    /// Whether loads are fenced.
    pub fenced: bool,
}

#[cfg(feature = "inventory")]
inventory::collect!(Function);

/// Registers a function, so that `check` finds its alias.
#[doc(hidden)]
#[macro_export]
#[cfg(feature = "inventory")]
macro_rules! __submit_cached {
    ($function:expr) => {
        $crate::__private::inventory::submit! { $function }
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "inventory"))]
macro_rules! __submit_cached {
    ($function:expr) => {};
}

/// Returns all functions of the program.
pub(crate) fn registered() -> impl Iterator<Item = &'static Function> {
    #[cfg(feature = "inventory")]
    return inventory::iter::<Function>.into_iter();
    #[cfg(not(feature = "inventory"))]
    return std::iter::empty();
}

impl Function {
    /// Returns the cache with the namespace and the version of the function, or `None` if it is the
    /// alias's own handle.
    pub(crate) fn handle(&self, cache: &Cache) -> Result<Option<Cache>> {
        self.check(cache)?;
        let namespace = match self.namespace {
            Some(name) => Some(cache.namespace(name).map_err(|error| self.named(error))?),
            None => None,
        };
        Ok(match self.version {
            Some(version) => Some(namespace.as_ref().unwrap_or(cache).at_version(version)),
            None => namespace,
        })
    }

    /// Adds the function to an error.
    pub(crate) fn named(&self, error: Error) -> Error {
        error.with_context("function", self.name)
    }

    /// Checks that the alias has the settings that the function needs.
    fn check(&self, cache: &Cache) -> Result<()> {
        let (tags, grace, fenced) = cache.allows();
        let needs = [
            (self.tags && !tags, "tags", "tags = true", ""),
            (self.grace && !grace, "grace", "grace = 0", ".fetch"),
            (self.fenced && !fenced, "fenced", "fenced = false", ".fetch"),
        ];
        match needs.into_iter().find(|(is_missing, ..)| *is_missing) {
            None => Ok(()),
            Some((_, name, line, table)) => {
                let alias = self.alias;
                let what = format!(
                    "the attribute `{name}` of a function with `#[cached]` needs a setting of its \
                     cache: write `{line}` in the table `[caches.{alias}{table}]`"
                );
                let error = Error::new(ErrorKind::Config, what).with_context("alias", alias);
                Err(self.named(error))
            }
        }
    }
}
