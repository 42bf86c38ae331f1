//! Writes with a revision, without async.

use crate::{
    cache::BlockingCache,
    error::Result,
    timeout::IntoTimeout,
    value::{Encode, Form},
};

impl<V: Form> BlockingCache<V> {
    /// Stores a value, unless a newer revision is stored: see
    /// [`Cache::set_revision`](crate::Cache::set_revision).
    ///
    /// # Errors
    /// As [`Cache::set_revision`](crate::Cache::set_revision), and `Runtime`.
    pub fn set_revision<T: ?Sized>(
        &self,
        key: &str,
        value: &T,
        revision: u64,
        timeout: impl IntoTimeout,
    ) -> Result<bool>
    where
        V: Encode<T>,
    {
        self.run(self.as_async().set_revision(key, value, revision, timeout))
    }

    /// Removes a key, unless a newer revision is stored, and keeps older values out: see
    /// [`Cache::delete_revision`](crate::Cache::delete_revision).
    ///
    /// # Errors
    /// As [`Cache::delete_revision`](crate::Cache::delete_revision), and `Runtime`.
    pub fn delete_revision(
        &self,
        key: &str,
        revision: u64,
        floor: impl IntoTimeout,
    ) -> Result<bool> {
        self.run(self.as_async().delete_revision(key, revision, floor))
    }
}
