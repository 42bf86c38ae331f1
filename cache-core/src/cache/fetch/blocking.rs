//! Reads through without async.

use std::{collections::HashMap, fmt, hash::Hash};

use super::Fetch;
use crate::{
    Bypass,
    cache::BlockingCache,
    error::Result,
    fetch::{Fetched, LoadContext, Loaded},
    timeout::IntoTimeout,
    value::{Decode, Encode, Form},
};

impl<V: Form> BlockingCache<V> {
    /// Returns the value of a key, or loads it in the background of this process: see
    /// [`Cache::fetch`](crate::Cache::fetch). `configure` sets the rules of the fetch, also
    /// [`force`](Fetch::force) and [`bypass`](Fetch::bypass). The loader
    /// is a plain closure, which runs on a thread for blocking code; its deadline frees the key and
    /// the callers, and cannot end the closure.
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    ///
    /// ```
    /// use cache_core::{Cache, secs};
    /// use cache_memory::Memory;
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// let parse = |_| "42".parse::<u32>();
    /// assert_eq!(cache.fetch("answer", |fetch| fetch.ttl(secs(60)), parse)?, 42);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn fetch<T, E>(
        &self,
        key: &str,
        configure: impl for<'a> FnOnce(Fetch<'a, V>) -> Fetch<'a, V>,
        load: impl FnOnce(LoadContext<V>) -> Result<T, E> + Send + 'static,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
        T: Send + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let load = |context| on_a_thread(|| load(context));
        self.run(configure(self.as_async().fetch(key)).load(load))
    }

    /// Returns the value of a key as [`fetch`](Self::fetch) does, or `None` if the source has none:
    /// see [`Fetch::load_optional`].
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    ///
    /// ```
    /// use cache_core::{Cache, secs};
    /// use cache_memory::Memory;
    /// use std::convert::Infallible;
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// let nobody = |_| Ok::<_, Infallible>(None::<String>);
    /// assert_eq!(cache.fetch_optional("user:7", |fetch| fetch.ttl(secs(60)), nobody)?, None);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn fetch_optional<T, E>(
        &self,
        key: &str,
        configure: impl for<'a> FnOnce(Fetch<'a, V>) -> Fetch<'a, V>,
        load: impl FnOnce(LoadContext<V>) -> Result<Option<T>, E> + Send + 'static,
    ) -> Result<Option<T>>
    where
        V: Encode<T> + Decode<T>,
        T: Send + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let load = |context| on_a_thread(|| load(context));
        self.run(configure(self.as_async().fetch(key)).load_optional(load))
    }

    /// Returns the value of a key as [`fetch`](Self::fetch) does, and how it was found: see
    /// [`Fetch::outcome`].
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    ///
    /// ```
    /// use cache_core::{Cache, FetchOutcome, Loaded};
    /// use cache_memory::Memory;
    /// use std::convert::Infallible;
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// let load = |_| Ok::<_, Infallible>(Loaded::Value(7));
    /// let fetched = cache.fetch_outcome("k", |fetch| fetch, load)?;
    /// assert!(matches!(fetched.outcome, FetchOutcome::Loaded { .. }));
    /// assert_eq!(fetched.value, Some(7));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn fetch_outcome<T, E>(
        &self,
        key: &str,
        configure: impl for<'a> FnOnce(Fetch<'a, V>) -> Fetch<'a, V>,
        load: impl FnOnce(LoadContext<V>) -> Result<Loaded<T>, E> + Send + 'static,
    ) -> Result<Fetched<T>>
    where
        V: Encode<T> + Decode<T>,
        T: Send + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let load = |context| on_a_thread(|| load(context));
        self.run(configure(self.as_async().fetch(key)).outcome(load))
    }

    /// Stores a value that comes from elsewhere, with the lifetime and the grace of the fetch: see
    /// [`Fetch::prime`].
    ///
    /// # Errors
    /// As [`Fetch::prime`], and `Runtime`.
    ///
    /// ```
    /// use cache_core::{Cache, secs};
    /// use cache_memory::Memory;
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// cache.prime("k", |fetch| fetch.ttl(secs(60)), &7)?;
    /// assert_eq!(cache.get::<i32>("k")?, Some(7));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn prime<T: ?Sized>(
        &self,
        key: &str,
        configure: impl for<'a> FnOnce(Fetch<'a, V>) -> Fetch<'a, V>,
        value: &T,
    ) -> Result<()>
    where
        V: Encode<T>,
    {
        self.run(configure(self.as_async().fetch(key)).prime(value))
    }

    /// Returns the values of keys, or loads them: see
    /// [`Cache::get_or_set_many`](crate::Cache::get_or_set_many).
    ///
    /// # Errors
    /// As [`Cache::get_or_set_many`](crate::Cache::get_or_set_many), and `Runtime`.
    pub fn get_or_set_many<T, K, R>(
        &self,
        keys: impl IntoIterator<Item = K>,
        timeout: impl IntoTimeout,
        mut load: impl FnMut(Vec<K>) -> R,
    ) -> Result<HashMap<K, T>>
    where
        V: Encode<T> + Decode<T>,
        K: AsRef<str> + Eq + Hash + Clone,
        R: IntoIterator<Item = (K, T)>,
    {
        let load = |missing| std::future::ready(load(missing));
        self.run(self.as_async().get_or_set_many(keys, timeout, load))
    }

    /// Returns the values of keys, or loads them with a loader that can fail: see
    /// [`Cache::get_or_try_set_many`](crate::Cache::get_or_try_set_many).
    ///
    /// # Errors
    /// As [`Cache::get_or_try_set_many`](crate::Cache::get_or_try_set_many), and `Runtime`.
    pub fn get_or_try_set_many<T, K, E, R>(
        &self,
        keys: impl IntoIterator<Item = K>,
        timeout: impl IntoTimeout,
        mut load: impl FnMut(Vec<K>) -> Result<R, E>,
    ) -> Result<HashMap<K, T>>
    where
        V: Encode<T> + Decode<T>,
        K: AsRef<str> + Eq + Hash + Clone,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
    {
        let load = |missing| std::future::ready(load(missing));
        self.run(self.as_async().get_or_try_set_many(keys, timeout, load))
    }
}

/// Runs a loader on a thread for blocking code.
pub(crate) async fn on_a_thread<T: Send + 'static>(load: impl FnOnce() -> T + Send + 'static) -> T {
    // The calls in the loader are bypassed like the fetch itself.
    let bypass = Bypass::current();
    match tokio::task::spawn_blocking(move || bypass.scope_sync(load)).await {
        Ok(loaded) => loaded,
        // The task of the load turns it into an error for all callers.
        Err(error) => std::panic::resume_unwind(match error.try_into_panic() {
            Ok(panic) => panic,
            Err(cancelled) => Box::new(cancelled),
        }),
    }
}
