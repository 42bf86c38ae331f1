use std::fmt;

use serde::Deserialize;

/// A backend's own options, not yet read: see [`BuildContext::options`]. They may hold a password;
/// `Debug` shows their names only.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Options(pub(crate) toml::Table);

impl Options {
    /// Options of a table built in code.
    ///
    /// ```
    /// let options = cache_core::config::Options::from_table(toml::toml! { max_entries = 1000 });
    /// assert_eq!(format!("{options:?}"), r#"{"max_entries"}"#);
    /// ```
    pub fn from_table(table: toml::Table) -> Self {
        Self(table)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
