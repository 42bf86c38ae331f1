use std::ops::Deref;

use crate::error::{Error, Result};

/// A key that [`set_many`](super::Cache::set_many) did not write, with the reason.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The caller's key.
    pub key: String,
    /// The reason.
    pub error: Error,
}

/// The keys that [`set_many`](super::Cache::set_many) did not write. It is empty if all keys were
/// written.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
/// # let cache = Cache::new("test", Memory::builder().max_value_bytes(10).build()?);
/// let failures = cache.set_many([("a", "1".to_owned()), ("b", "2".repeat(100))], Timeout::Default).await?;
/// for failed in &failures {
///     println!("{} was not written: {}", failed.key, failed.error);
/// }
/// assert_eq!(failures.len(), 1);
/// // Any failure is an error:
/// cache.set_many([("a", 1), ("c", 3)], Timeout::Default).await?.into_result()?;
/// # Ok(()) }
/// ```
#[must_use = "lists the keys that were not written; `into_result` returns the first failure as an error"]
#[derive(Clone, Debug, Default)]
pub struct Failures(pub(super) Vec<Failed>);

impl Failures {
    /// Converts the failures into a `Result`.
    ///
    /// # Errors
    /// The error of the first failure, with its key.
    pub fn into_result(self) -> Result<()> {
        match self.0.into_iter().next() {
            Some(Failed { key, error }) => Err(error.with_context("key", key)),
            None => Ok(()),
        }
    }
}

impl Deref for Failures {
    type Target = [Failed];

    fn deref(&self) -> &[Failed] {
        &self.0
    }
}

impl IntoIterator for Failures {
    type Item = Failed;
    type IntoIter = std::vec::IntoIter<Failed>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Failures {
    type Item = &'a Failed;
    type IntoIter = std::slice::Iter<'a, Failed>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
