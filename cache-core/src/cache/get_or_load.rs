use std::fmt;

use super::Cache;
use crate::{
    error::Error,
    timeout::IntoTimeout,
    value::{Decode, Encode, Form},
};

/// Reads through, with errors of the loader's own type.
impl<V: Form> Cache<V> {
    /// Returns the value of `key`, as [`get_or_try_set`](Self::get_or_try_set) does, with errors of
    /// the loader's own type. So `?` needs no conversion.
    ///
    /// The compiler infers the type of the loader's error from the type that the whole call
    /// returns. A `?` within the loader needs no annotation if the call is the last expression of a
    /// function:
    ///
    /// ```
    /// # use cache_core::{Cache, Error, secs}; use cache_memory::Memory;
    /// #[derive(Debug, PartialEq)]
    /// enum ServiceError {
    ///     NotFound,
    ///     Cache(String),
    /// }
    /// impl From<Error> for ServiceError {
    ///     fn from(error: Error) -> Self {
    ///         match error.loader() {
    ///             Some(Self::NotFound) => Self::NotFound,
    ///             _ => Self::Cache(error.to_string()),
    ///         }
    ///     }
    /// }
    /// # impl std::fmt::Display for ServiceError {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("no user") }
    /// # }
    /// # impl From<std::num::ParseIntError> for ServiceError {
    /// #     fn from(_: std::num::ParseIntError) -> Self { Self::NotFound }
    /// # }
    ///
    /// async fn user(cache: &Cache, id: &str) -> Result<u32, ServiceError> {
    ///     cache.get_or_load("user", secs(60), async || Ok(id.parse()?)).await
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let cache = Cache::new("test", Memory::new());
    /// assert_eq!(user(&cache, "x").await, Err(ServiceError::NotFound));
    /// assert_eq!(user(&cache, "7").await, Ok(7));
    /// # }
    /// ```
    ///
    /// # Errors
    /// The loader's own error if the loader failed and no other caller waited for the load. Callers
    /// that share a failed load get `E::from` of an [`Error`] of kind `Loader`, in which
    /// [`Error::loader`] borrows the loader's error. Errors of the cache are converted in the same
    /// way.
    ///
    /// # Cancel safety
    /// If the future is dropped, its loader ends, and the next caller that waits for the key runs
    /// its own loader. The value is stored as a whole or not at all.
    pub async fn get_or_load<T, E, F>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        V: Encode<T> + Decode<T>,
        E: From<Error> + fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let res = self.get_or_try_set(key, timeout, load).await;
        res.map_err(|error| error.into_loader().unwrap_or_else(E::from))
    }
}
