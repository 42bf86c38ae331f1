use std::{convert::Infallible, fmt};

use super::Cache;
use crate::{
    error::{Error, Result},
    fetch::Overrides,
    timeout::IntoTimeout,
    value::{Decode, Encode, Form},
};

/// Reads through: a missing value is loaded and stored.
///
/// One load runs per key at a time, for any number of callers. The other callers wait and share its
/// value or its error. A load also ends in these cases:
///
/// - The caller that runs the load is dropped, or its loader panics: the next waiting caller runs
///   its own loader.
/// - The load does not end within `load_deadline` (30 s by default): one of the waiting callers
///   runs its own loader, and the others wait for this caller. A caller waits for at most two
///   `load_deadline`s in all, and then gets an error of kind `TimedOut`. With the setting `fenced`,
///   both times are twice as long, because a load may first wait for another process.
/// - The key is written, deleted or cleared during the load: callers that wait for the load get its
///   value, but the value is not stored. Later callers start another load. So a load that read old
///   data never overwrites newer data. With the setting [`fenced`](crate::FetchSettings::fenced),
///   this also holds for writes and deletes by other processes.
/// - A loader waits for its own load, directly or through others: it gets an error of kind `Loader`
///   that names the keys. The library detects this in the loader itself, also through nested loads.
///   It does not detect this in a task that the loader spawns or on another thread, because it
///   cannot know the load of such a task. There the inner call waits for `load_deadline` and then
///   runs its own loader.
///
/// The loader runs in the future of its caller, and only while this future is polled.
impl<V: Form> Cache<V> {
    /// Returns the value of `key`. If the key is missing, runs `load`, stores its value for
    /// `timeout` and returns the value.
    ///
    /// If the store fails and the cache fails open, the value is loaded and not stored. A failed
    /// write of a loaded value is counted and never returned. With a lifetime of zero the value is
    /// not stored.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open; `load` does not run then. `Codec` if the
    /// loaded value cannot be serialized (a NaN, nesting that is too deep), also with `fail_open`,
    /// because callers could not share the value. `TimedOut` after a wait of two `load_deadline`s.
    /// `Loader` if loads wait for each other in a cycle, or if the shared load of another caller
    /// failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, its loader ends, and the next caller that waits for the key runs
    /// its own loader. The value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let load = || async { "the slow part".to_owned() };
    /// assert_eq!(cache.get_or_set("report", secs(60), load).await?, "the slow part");
    /// assert_eq!(cache.get_or_set("report", secs(60), || async { String::new() }).await?, "the slow part");
    /// # Ok(()) }
    /// ```
    pub async fn get_or_set<T, F>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
        F: Future<Output = T>,
    {
        self.get_or_try_set(key, timeout, || async { Ok::<T, Infallible>(load().await) }).await
    }

    /// Returns the value of `key`, as [`get_or_set`](Self::get_or_set) does, with a loader that can
    /// fail.
    ///
    /// The loader's error reaches every caller that waited for the load, and nothing is stored.
    /// [`Error::loader`] borrows the loader's own error, and [`Error::into_loader`] moves it out.
    /// [`get_or_load`](Self::get_or_load) returns the loader's type of error instead. With a `?`
    /// within the loader, the type of its error must be written out: `Ok::<_, ParseIntError>(…)`.
    ///
    /// # Errors
    /// `Loader` if the loader failed. All others as [`get_or_set`](Self::get_or_set).
    ///
    /// # Cancel safety
    /// If the future is dropped, its loader ends, and the next caller that waits for the key runs
    /// its own loader. The value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, ErrorKind, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let error = cache
    ///     .get_or_try_set::<u32, _, _>("answer", secs(60), || async { "42!".parse() })
    ///     .await
    ///     .unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Loader);
    /// assert!(error.loader::<std::num::ParseIntError>().is_some());
    ///
    /// let answer: u32 = cache.get_or_try_set("answer", secs(60), || async { "42".parse() }).await?;
    /// assert_eq!(answer, 42);
    /// # Ok(()) }
    /// ```
    pub async fn get_or_try_set<T, E, F>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let ttl = timeout.into_timeout();
        let overrides = Overrides { ttl, grace: None, codec: None, keyspace: None, force: false };
        self.load_through(key, &overrides, None, load).await
    }

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
