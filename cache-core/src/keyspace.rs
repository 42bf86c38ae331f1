//! Typed keyspaces: the keys, the values and the lifetime of one kind of entry, declared once.

mod key;

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    hash::Hash,
    marker::PhantomData,
};

use serde::{Serialize, de::DeserializeOwned};

pub use self::key::{KeyParts, Many, One};
use crate::{
    cache::{Cache, Failures},
    error::Result,
    telemetry::stats::Outcome,
    timeout::{Timeout, Ttl},
};

/// A kind of entries: their keys, their values and their lifetime, declared once.
///
/// Keys have the type `K`, and values the type `V`. A key is a value of any type with `Display`,
/// or a tuple of such values; `()` is the key of a single entry. The stored key is
/// `name:schema:key`, with a colon between the parts of a tuple. Colons, percent signs, spaces and
/// control characters in the name and in the parts are escaped, so that different keys never become
/// the same stored key, in one keyspace and in any two with different names.
///
/// A keyspace works with each handle, also with those of [`at_version`](Cache::at_version) and
/// [`strict`](Cache::strict). With handles without async, and for operations that a keyspace does
/// not have, use [`key`](Self::key).
///
/// # When the type of the values changes
/// Raise [`schema`](Self::schema). The entries of the old type are then misses, and expire. Two
/// releases that run at the same time do not disturb each other. This is needed for the codec
/// [`Postcard`](crate::Codec), which cannot tell an old value from a new one.
///
/// ```
/// use cache_core::{Cache, Keyspace, secs};
/// use cache_memory::Memory;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// static USERS: Keyspace<u64, User> = Keyspace::new("user").ttl(secs(300)).schema(2);
/// /// Country and page.
/// static PAGES: Keyspace<(&str, u32), String> = Keyspace::new("page").ttl(secs(60));
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let cache = Cache::new("test", Memory::new());
/// USERS.set(&cache, &42, &User { name: "Ada".into() }).await?;
/// assert_eq!(USERS.get(&cache, &42).await?.unwrap().name, "Ada");
/// assert!(cache.has_key("user:2:42").await?);
///
/// let page = PAGES.get_or_set(&cache, &("de", 7), || async { "<p>".to_owned() }).await?;
/// assert_eq!(page, "<p>");
/// assert_eq!(PAGES.key(&("a:b", 1))?, "page:1:a%3Ab:1");
/// # Ok(()) }
/// ```
pub struct Keyspace<K: ?Sized, V> {
    name: &'static str,
    schema: u32,
    timeout: Timeout,
    label: Option<&'static str>,
    /// Covariant, so that a key may borrow for less than `'static`.
    key: PhantomData<fn() -> Box<K>>,
    value: PhantomData<fn() -> V>,
}

impl<K: ?Sized, V> Keyspace<K, V> {
    /// Creates a keyspace whose keys begin with `name`, with schema 1 and the default lifetime of
    /// the alias. Two keyspaces of one alias must not have the same name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            schema: 1,
            timeout: Timeout::Default,
            label: None,
            key: PhantomData,
            value: PhantomData,
        }
    }

    /// Sets the lifetime of the entries.
    #[must_use]
    pub const fn ttl(mut self, timeout: Timeout) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the version of the type of the values. Values of other versions are misses.
    #[must_use]
    pub const fn schema(mut self, version: u32) -> Self {
        self.schema = version;
        self
    }

    /// Sets the label `keyspace` in [metrics](crate::telemetry). If unset, it is the name.
    #[must_use]
    pub const fn label(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the key for calls of a handle: all operations of [`Cache`] and of
    /// [`BlockingCache`](crate::BlockingCache).
    ///
    /// # Errors
    /// `InvalidKey` if the `Display` of a part fails.
    ///
    /// ```
    /// # use cache_core::{Cache, Keyspace, secs}; use cache_memory::Memory;
    /// static VISITS: Keyspace<str, u64> = Keyspace::new("visits");
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// assert_eq!(cache.incr_or(&VISITS.key("ada")?, 1, 0, secs(60))?, 1);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn key<M>(&self, key: &K) -> Result<String>
    where
        K: KeyParts<M>,
    {
        key::write(self.name, self.schema, key)
    }

    /// Returns the value of a key: see [`Cache::get`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    pub async fn get<M>(&self, cache: &Cache, key: &K) -> Result<Option<V>>
    where
        K: KeyParts<M>,
        V: DeserializeOwned,
    {
        let found = cache.get(&self.key(key)?).await?;
        self.count(cache, found.is_some(), 1);
        Ok(found)
    }

    /// Returns the values of the keys that exist: see [`Cache::get_many`].
    ///
    /// # Errors
    /// As [`Cache::get_many`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entries as they were.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// static NAMES: Keyspace<u64, String> = Keyspace::new("name");
    ///
    /// let names = [(1, "Ada".to_owned()), (2, "Bob".to_owned())];
    /// NAMES.set_many(&cache, names.clone()).await?.into_result()?;
    /// assert_eq!(NAMES.get_many(&cache, [1, 2, 3]).await?, names.into());
    /// # Ok(()) }
    /// ```
    pub async fn get_many<Q, M>(
        &self,
        cache: &Cache,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash,
        K: KeyParts<M>,
        V: DeserializeOwned,
    {
        let keys: Vec<Q> = keys.into_iter().collect();
        let names: Vec<String> =
            keys.iter().map(|it| self.key(Borrow::<K>::borrow(it))).collect::<Result<_>>()?;
        let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
        let asked = wanted.len();
        let mut found = cache.get_many::<V, &str>(wanted).await?;
        self.count(cache, true, found.len());
        self.count(cache, false, asked - found.len());
        let pairs = keys.into_iter().zip(&names);
        Ok(pairs.filter_map(|(key, name)| Some((key, found.remove(name.as_str())?))).collect())
    }

    /// Stores a value with the lifetime of the keyspace: see [`Cache::set`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    pub fn set<'a, M>(
        &self,
        cache: &'a Cache,
        key: &K,
        value: &V,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, K, V, M>
    where
        K: KeyParts<M>,
        V: Serialize,
    {
        let write = self.key(key).map(|key| cache.set(&key, value, self.timeout));
        async move { write?.await }
    }

    /// Stores all items with the lifetime of the keyspace: see [`Cache::set_many`]. The result
    /// lists the keys that were not written, in the form of [`key`](Self::key).
    ///
    /// # Errors
    /// As [`Cache::set_many`].
    ///
    /// # Cancel safety
    /// If the future is dropped, some items may be written.
    pub fn set_many<'a, Q, W, I, M>(
        &self,
        cache: &'a Cache,
        items: I,
    ) -> impl Future<Output = Result<Failures>> + Send + use<'a, K, V, Q, W, I, M>
    where
        Q: Borrow<K>,
        W: Borrow<V> + Serialize,
        I: IntoIterator<Item = (Q, W)>,
        K: KeyParts<M>,
    {
        let items =
            items.into_iter().map(|(key, value)| Ok((self.key(Borrow::<K>::borrow(&key))?, value)));
        let write = items.collect::<Result<Vec<_>>>().map(|it| cache.set_many(it, self.timeout));
        async move { write?.await }
    }

    /// Removes a key: see [`Cache::delete`].
    ///
    /// # Errors
    /// As [`Cache::delete`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry may or may not be removed.
    pub async fn delete<M>(&self, cache: &Cache, key: &K) -> Result<bool>
    where
        K: KeyParts<M>,
    {
        cache.delete(&self.key(key)?).await
    }

    /// Returns the remaining lifetime of a key: see [`Cache::ttl`].
    ///
    /// # Errors
    /// As [`Cache::ttl`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    pub async fn ttl_of<M>(&self, cache: &Cache, key: &K) -> Result<Option<Ttl>>
    where
        K: KeyParts<M>,
    {
        cache.ttl(&self.key(key)?).await
    }

    /// Returns whether a key exists: see [`Cache::has_key`].
    ///
    /// # Errors
    /// As [`Cache::has_key`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    pub async fn has_key<M>(&self, cache: &Cache, key: &K) -> Result<bool>
    where
        K: KeyParts<M>,
    {
        cache.has_key(&self.key(key)?).await
    }

    /// Returns the value of a key, or loads and stores it: see [`Cache::get_or_set`].
    ///
    /// # Errors
    /// As [`Cache::get_or_set`].
    ///
    /// # Cancel safety
    /// As [`Cache::get_or_set`].
    pub async fn get_or_set<M, L>(
        &self,
        cache: &Cache,
        key: &K,
        load: impl FnOnce() -> L,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        V: Serialize + DeserializeOwned,
        L: Future<Output = V>,
    {
        self.get_or_try_set(cache, key, || async { Ok::<V, Infallible>(load().await) }).await
    }

    /// Returns the value of a key, or loads it with a loader that can fail: see
    /// [`Cache::get_or_try_set`].
    ///
    /// # Errors
    /// As [`Cache::get_or_try_set`].
    ///
    /// # Cancel safety
    /// As [`Cache::get_or_try_set`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// static ANSWERS: Keyspace<str, u32> = Keyspace::new("answer");
    ///
    /// assert!(ANSWERS.get_or_try_set(&cache, "q", || async { "42!".parse::<u32>() }).await.is_err());
    /// let answer = ANSWERS.get_or_try_set(&cache, "q", || async { "42".parse::<u32>() }).await?;
    /// assert_eq!(answer, 42);
    /// # Ok(()) }
    /// ```
    pub async fn get_or_try_set<M, E, L>(
        &self,
        cache: &Cache,
        key: &K,
        load: impl FnOnce() -> L,
    ) -> Result<V>
    where
        K: KeyParts<M>,
        V: Serialize + DeserializeOwned,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: Future<Output = Result<V, E>>,
    {
        let key = self.key(key)?;
        let mut is_loaded = false;
        let load = || {
            is_loaded = true;
            load()
        };
        let value = cache.get_or_try_set(&key, self.timeout, load).await;
        self.count(cache, !is_loaded && value.is_ok(), 1);
        value
    }

    fn count(&self, cache: &Cache, is_hit: bool, keys: usize) {
        let outcome = if is_hit { Outcome::Hit } else { Outcome::Miss };
        cache.observer().keyspace(self.label.unwrap_or(self.name), outcome, keys as u64);
    }
}

impl<K: ?Sized, V> fmt::Debug for Keyspace<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .field("ttl", &self.timeout)
            .finish_non_exhaustive()
    }
}
