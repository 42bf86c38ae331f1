//! Tags without async.

use crate::{cache::BlockingCache, error::Result, value::Form};

impl<V: Form> BlockingCache<V> {
    /// Returns a handle that stores its values with these tags: see
    /// [`Cache::with_tags`](crate::Cache::with_tags).
    #[must_use]
    pub fn with_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Self {
        Self::of(self.as_async().with_tags(tags))
    }

    /// Makes all values with one of these tags unusable: see
    /// [`Cache::invalidate_tags`](crate::Cache::invalidate_tags).
    ///
    /// # Errors
    /// As [`Cache::invalidate_tags`](crate::Cache::invalidate_tags), and `Runtime`.
    pub fn invalidate_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Result<()> {
        self.run(self.as_async().invalidate_tags(tags))
    }

    /// Lets all values with one of these tags count as past their lifetime: see
    /// [`Cache::expire_tags`](crate::Cache::expire_tags).
    ///
    /// # Errors
    /// As [`Cache::expire_tags`](crate::Cache::expire_tags), and `Runtime`.
    pub fn expire_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Result<()> {
        self.run(self.as_async().expire_tags(tags))
    }
}
