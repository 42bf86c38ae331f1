use std::{collections::HashMap, fmt, hash::Hash};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, Failures};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime,
    timeout::{IntoTimeout, Ttl},
};

/// The same cache for threads and scripts, without async: see [`Cache::blocking`].
///
/// Every method is that of [`Cache`] with the same name and rules; a loader is a plain closure.
#[derive(Clone, Debug)]
pub struct BlockingCache(Cache);

impl Cache {
    /// The same cache without async, for threads and scripts, over every store.
    ///
    /// On a thread that is running async tasks a blocking call would stop them all, so there it is an error of kind `Config`; in
    /// `spawn_blocking` and `block_in_place` it is fine. A store that needs a runtime is driven by one of the library's own, on a thread
    /// that starts with the first such call.
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
    pub fn blocking(&self) -> BlockingCache {
        BlockingCache(Self { on_own_runtime: true, ..self.clone() })
    }
}

impl BlockingCache {
    fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if runtime::is_async_context() {
            return Err(Error::new(
                ErrorKind::Runtime,
                "a blocking call on a thread that runs async tasks would stop them: use the async methods \
                 there, or tokio's `spawn_blocking`",
            )
            .with_context("alias", self.0.alias()));
        }
        runtime::block_on(call)
    }

    /// The async handle again.
    pub fn into_async(self) -> Cache {
        Cache { on_own_runtime: false, ..self.0 }
    }

    /// See [`Cache::alias`].
    pub fn alias(&self) -> &str {
        self.0.alias()
    }

    /// See [`Cache::version`].
    pub fn version(&self) -> i64 {
        self.0.version()
    }

    /// See [`Cache::stats`].
    pub fn stats(&self) -> crate::telemetry::Stats {
        self.0.stats()
    }

    /// See [`Cache::at_version`].
    #[must_use]
    pub fn at_version(&self, version: i64) -> Self {
        Self(self.0.at_version(version))
    }

    /// See [`Cache::strict`].
    #[must_use]
    pub fn strict(&self) -> Self {
        Self(self.0.strict())
    }

    /// See [`Cache::get`].
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.run(self.0.get(key))
    }

    /// See [`Cache::get_bytes`].
    pub fn get_bytes(&self, key: &str) -> Result<Option<Bytes>> {
        self.run(self.0.get_bytes(key))
    }

    /// See [`Cache::get_many`].
    pub fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<HashMap<K, T>>
    where
        T: DeserializeOwned,
        K: AsRef<str> + Eq + Hash,
    {
        self.run(self.0.get_many(keys))
    }

    /// See [`Cache::has_key`].
    pub fn has_key(&self, key: &str) -> Result<bool> {
        self.run(self.0.has_key(key))
    }

    /// See [`Cache::ttl`].
    pub fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.run(self.0.ttl(key))
    }

    /// See [`Cache::touch`].
    pub fn touch(&self, key: &str, timeout: impl IntoTimeout) -> Result<bool> {
        self.run(self.0.touch(key, timeout))
    }

    /// See [`Cache::set`].
    pub fn set<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
    ) -> Result<()> {
        self.run(self.0.set(key, value, timeout))
    }

    /// See [`Cache::set_bytes`].
    pub fn set_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl IntoTimeout,
    ) -> Result<()> {
        self.run(self.0.set_bytes(key, value, timeout))
    }

    /// See [`Cache::set_many`].
    pub fn set_many<K: AsRef<str>, V: Serialize>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
        timeout: impl IntoTimeout,
    ) -> Result<Failures> {
        self.run(self.0.set_many(items, timeout))
    }

    /// See [`Cache::add`].
    pub fn add<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
    ) -> Result<bool> {
        self.run(self.0.add(key, value, timeout))
    }

    /// See [`Cache::replace`].
    pub fn replace<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
    ) -> Result<bool> {
        self.run(self.0.replace(key, value, timeout))
    }

    /// See [`Cache::update`].
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        change: impl FnMut(T) -> T,
    ) -> Result<Option<T>> {
        self.run(self.0.update(key, timeout, change))
    }

    /// See [`Cache::upsert`].
    pub fn upsert<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.run(self.0.upsert(key, timeout, change))
    }

    /// See [`Cache::get_or_set`].
    pub fn get_or_set<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> T,
    ) -> Result<T> {
        self.run(self.0.get_or_set(key, timeout, || async { load() }))
    }

    /// See [`Cache::get_or_try_set`].
    pub fn get_or_try_set<T, E>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        self.run(self.0.get_or_try_set(key, timeout, || async { load() }))
    }

    /// See [`Cache::get_or_load`].
    pub fn get_or_load<T, E>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error> + fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let res = self.get_or_try_set(key, timeout, load);
        res.map_err(|error| error.into_loader().unwrap_or_else(E::from))
    }

    /// See [`Cache::delete`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.run(self.0.delete(key))
    }

    /// See [`Cache::delete_many`].
    pub fn delete_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        self.run(self.0.delete_many(keys))
    }

    /// See [`Cache::pop`].
    pub fn pop<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.run(self.0.pop(key))
    }

    /// See [`Cache::incr`].
    pub fn incr(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.incr(key, delta))
    }

    /// See [`Cache::decr`].
    pub fn decr(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.decr(key, delta))
    }

    /// See [`Cache::incr_or`].
    pub fn incr_or(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        timeout: impl IntoTimeout,
    ) -> Result<i64> {
        self.run(self.0.incr_or(key, delta, initial, timeout))
    }

    /// See [`Cache::incr_version`].
    pub fn incr_version(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.incr_version(key, delta))
    }

    /// See [`Cache::decr_version`].
    pub fn decr_version(&self, key: &str, delta: i64) -> Result<i64> {
        self.run(self.0.decr_version(key, delta))
    }

    /// See [`Cache::clear`].
    pub fn clear(&self) -> Result<()> {
        self.run(self.0.clear())
    }

    /// See [`Cache::clear_store`].
    pub fn clear_store(&self) -> Result<()> {
        self.run(self.0.clear_store())
    }

    /// See [`Cache::check`].
    pub fn check(&self) -> Result<()> {
        self.run(self.0.check())
    }

    /// See [`Cache::close`].
    pub fn close(&self) -> Result<()> {
        self.run(self.0.close())
    }
}
