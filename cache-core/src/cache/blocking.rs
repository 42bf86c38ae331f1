mod arc;

use std::{collections::HashMap, fmt, hash::Hash};

use bytes::Bytes;

use super::{Cache, Failures};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime,
    timeout::{IntoTimeout, Ttl},
    value::{Decode, Encode, Form, Typed},
};

/// A handle to a cache without async, for threads and scripts: see [`Cache::blocking`].
///
/// Each method follows the rules of the method of [`Cache`] with the same name. A loader is a plain
/// closure.
///
/// # Errors
/// Every method that calls the store also returns `Runtime` on a thread that runs async tasks.
#[derive(Clone, Debug)]
pub struct BlockingCache<V: Form = Typed>(Cache<V>);

impl<V: Form> Cache<V> {
    /// Returns a handle to the same cache without async, for threads and scripts. Every store
    /// supports this.
    ///
    /// On a thread that runs async tasks, a blocking call would stop all tasks of the thread. There
    /// it returns an error of kind `Runtime`. Calls in `spawn_blocking` and `block_in_place` work.
    /// The library drives a store that needs a runtime on its own runtime, whose thread starts with
    /// the first call.
    ///
    /// ```
    /// use cache_core::{Cache, secs};
    /// use cache_memory::Memory;
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// let report = cache.get_or_set("report", secs(60), || "the slow part".to_owned())?;
    /// assert_eq!(report, "the slow part");
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    #[must_use]
    pub fn blocking(&self) -> BlockingCache<V> {
        BlockingCache(Self { on_own_runtime: true, ..self.clone() })
    }
}

impl<V: Form> BlockingCache<V> {
    pub(super) fn of(cache: Cache<V>) -> Self {
        Self(cache)
    }

    pub(crate) fn as_async(&self) -> &Cache<V> {
        &self.0
    }

    pub(crate) fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if runtime::is_async_context() {
            let what = "blocking call on a thread that runs async tasks, which it would stop: use \
                        the async methods there, or `tokio::task::spawn_blocking`";
            let error = Error::new(ErrorKind::Runtime, what);
            return Err(error.with_context("alias", self.0.alias()));
        }
        runtime::block_on(call)
    }

    /// Converts this handle into an async handle.
    pub fn into_async(self) -> Cache<V> {
        Cache { on_own_runtime: false, ..self.0 }
    }

    /// Returns the alias: see [`Cache::alias`].
    pub fn alias(&self) -> &str {
        self.0.alias()
    }

    /// Returns the key version: see [`Cache::version`].
    pub fn version(&self) -> i64 {
        self.0.version()
    }

    /// Returns the counters: see [`Cache::stats`].
    pub fn stats(&self) -> crate::telemetry::Stats {
        self.0.stats()
    }

    /// Returns a handle to another key version: see [`Cache::at_version`].
    #[must_use]
    pub fn at_version(&self, version: i64) -> Self {
        Self(self.0.at_version(version))
    }

    /// Returns a handle that returns every error: see [`Cache::strict`].
    #[must_use]
    pub fn strict(&self) -> Self {
        Self(self.0.strict())
    }

    /// Returns a handle whose values are bytes: see [`Cache::bytes`].
    #[must_use]
    pub fn bytes(&self) -> BlockingCache<Bytes> {
        self.in_form()
    }

    /// Returns a handle to the same cache with values of another form.
    pub(super) fn in_form<W: Form>(&self) -> BlockingCache<W> {
        BlockingCache(self.0.in_form())
    }

    /// Returns the value of a key: see [`Cache::get`].
    ///
    /// # Errors
    /// As [`Cache::get`], and `Runtime`.
    pub fn get<T>(&self, key: &str) -> Result<Option<T>>
    where
        V: Decode<T>,
    {
        self.run(self.0.get(key))
    }

    /// Returns the values of several keys: see [`Cache::get_many`].
    ///
    /// # Errors
    /// As [`Cache::get_many`], and `Runtime`.
    pub fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<HashMap<K, T>>
    where
        V: Decode<T>,
        K: AsRef<str> + Eq + Hash,
    {
        self.run(self.0.get_many(keys))
    }

    /// Returns whether a key exists: see [`Cache::has_key`].
    ///
    /// # Errors
    /// As [`Cache::has_key`], and `Runtime`.
    pub fn has_key(&self, key: &str) -> Result<bool> {
        self.run(self.0.has_key(key))
    }

    /// Returns the remaining lifetime of a key: see [`Cache::ttl`].
    ///
    /// # Errors
    /// As [`Cache::ttl`], and `Runtime`.
    pub fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.run(self.0.ttl(key))
    }

    /// Sets a new lifetime: see [`Cache::touch`].
    ///
    /// # Errors
    /// As [`Cache::touch`], and `Runtime`.
    pub fn touch(&self, key: &str, timeout: impl IntoTimeout) -> Result<bool> {
        self.run(self.0.touch(key, timeout))
    }

    /// Stores a value: see [`Cache::set`].
    ///
    /// # Errors
    /// As [`Cache::set`], and `Runtime`.
    pub fn set<T: ?Sized>(&self, key: &str, value: &T, timeout: impl IntoTimeout) -> Result<()>
    where
        V: Encode<T>,
    {
        self.run(self.0.set(key, value, timeout))
    }

    /// Stores several values: see [`Cache::set_many`].
    ///
    /// # Errors
    /// As [`Cache::set_many`], and `Runtime`.
    pub fn set_many<K: AsRef<str>, T>(
        &self,
        items: impl IntoIterator<Item = (K, T)>,
        timeout: impl IntoTimeout,
    ) -> Result<Failures>
    where
        V: Encode<T>,
    {
        self.run(self.0.set_many(items, timeout))
    }

    /// Stores a value if the key is missing: see [`Cache::add`].
    ///
    /// # Errors
    /// As [`Cache::add`], and `Runtime`.
    pub fn add<T: ?Sized>(&self, key: &str, value: &T, timeout: impl IntoTimeout) -> Result<bool>
    where
        V: Encode<T>,
    {
        self.run(self.0.add(key, value, timeout))
    }

    /// Stores a value if the key exists: see [`Cache::replace`].
    ///
    /// # Errors
    /// As [`Cache::replace`], and `Runtime`.
    pub fn replace<T: ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
    ) -> Result<bool>
    where
        V: Encode<T>,
    {
        self.run(self.0.replace(key, value, timeout))
    }

    /// Changes a value: see [`Cache::update`].
    ///
    /// # Errors
    /// As [`Cache::update`], and `Runtime`.
    pub fn update<T>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        change: impl FnMut(T) -> T,
    ) -> Result<Option<T>>
    where
        V: Encode<T> + Decode<T>,
    {
        self.run(self.0.update(key, timeout, change))
    }

    /// Changes or creates a value: see [`Cache::upsert`].
    ///
    /// # Errors
    /// As [`Cache::upsert`], and `Runtime`.
    pub fn upsert<T>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<T>>
    where
        V: Encode<T> + Decode<T>,
    {
        self.run(self.0.upsert(key, timeout, change))
    }

    /// Returns the value of a key, or loads and stores it: see [`Cache::get_or_set`].
    ///
    /// # Errors
    /// As [`Cache::get_or_set`], and `Runtime`.
    pub fn get_or_set<T>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> T,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
    {
        self.run(self.0.get_or_set(key, timeout, || async { load() }))
    }

    /// Returns the value of a key, or loads it with a loader that can fail: see
    /// [`Cache::get_or_try_set`].
    ///
    /// # Errors
    /// As [`Cache::get_or_try_set`], and `Runtime`.
    pub fn get_or_try_set<T, E>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        self.run(self.0.get_or_try_set(key, timeout, || async { load() }))
    }

    /// Returns the value of a key, or loads it, with errors of the loader's type: see
    /// [`Cache::get_or_load`].
    ///
    /// # Errors
    /// As [`Cache::get_or_load`], and `Runtime`.
    pub fn get_or_load<T, E>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        V: Encode<T> + Decode<T>,
        E: From<Error> + fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let res = self.get_or_try_set(key, timeout, load);
        res.map_err(|error| error.into_loader().unwrap_or_else(E::from))
    }

    /// Removes a key: see [`Cache::delete`].
    ///
    /// # Errors
    /// As [`Cache::delete`], and `Runtime`.
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.run(self.0.delete(key))
    }

    /// Removes several keys: see [`Cache::delete_many`].
    ///
    /// # Errors
    /// As [`Cache::delete_many`], and `Runtime`.
    pub fn delete_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        self.run(self.0.delete_many(keys))
    }

    /// Reads and removes a value: see [`Cache::pop`].
    ///
    /// # Errors
    /// As [`Cache::pop`], and `Runtime`.
    pub fn pop<T>(&self, key: &str) -> Result<Option<T>>
    where
        V: Decode<T>,
    {
        self.run(self.0.pop(key))
    }

    /// Adds to an integer: see [`Cache::incr`].
    ///
    /// # Errors
    /// As [`Cache::incr`], and `Runtime`.
    pub fn incr(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.incr(key, delta))
    }

    /// Subtracts from an integer: see [`Cache::decr`].
    ///
    /// # Errors
    /// As [`Cache::decr`], and `Runtime`.
    pub fn decr(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.decr(key, delta))
    }

    /// Adds to an integer, or creates it: see [`Cache::incr_or`].
    ///
    /// # Errors
    /// As [`Cache::incr_or`], and `Runtime`.
    pub fn incr_or(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        timeout: impl IntoTimeout,
    ) -> Result<i64> {
        self.run(self.0.incr_or(key, delta, initial, timeout))
    }

    /// Moves an entry to a higher version: see [`Cache::incr_version`].
    ///
    /// # Errors
    /// As [`Cache::incr_version`], and `Runtime`.
    pub fn incr_version(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.incr_version(key, delta))
    }

    /// Moves an entry to a lower version: see [`Cache::decr_version`].
    ///
    /// # Errors
    /// As [`Cache::decr_version`], and `Runtime`.
    pub fn decr_version(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.decr_version(key, delta))
    }

    /// Removes all entries of this alias: see [`Cache::clear`].
    ///
    /// # Errors
    /// As [`Cache::clear`], and `Runtime`.
    pub fn clear(&self) -> Result<()> {
        self.run(self.0.clear())
    }

    /// Removes everything in the store: see [`Cache::clear_store`].
    ///
    /// # Errors
    /// As [`Cache::clear_store`], and `Runtime`.
    pub fn clear_store(&self) -> Result<()> {
        self.run(self.0.clear_store())
    }

    /// Checks that the store serves requests: see [`Cache::check`].
    ///
    /// # Errors
    /// As [`Cache::check`], and `Runtime`.
    pub fn check(&self) -> Result<()> {
        self.run(self.0.check())
    }

    /// Closes the connections: see [`Cache::close`].
    ///
    /// # Errors
    /// As [`Cache::close`], and `Runtime`.
    pub fn close(&self) -> Result<()> {
        self.run(self.0.close())
    }
}
