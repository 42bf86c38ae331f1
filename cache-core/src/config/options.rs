use std::fmt;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// A backend's own options before they are read with
/// [`BuildContext::options`](super::BuildContext::options).
///
/// They may contain a password, so `Debug` prints only their names.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Options(pub(crate) toml::Table);

impl Options {
    /// Creates options from a table that is built in code.
    ///
    /// ```
    /// use cache_core::config::Options;
    ///
    /// let options = Options::from_toml("max_entries = 1000")?;
    /// assert_eq!(format!("{options:?}"), r#"{"max_entries"}"#);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` if the text is not TOML.
    pub fn from_toml(text: &str) -> Result<Self> {
        let table = text
            .parse()
            .map_err(|_| Error::new(ErrorKind::Config, "the options are not valid TOML"))?;
        Ok(Self(table))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
