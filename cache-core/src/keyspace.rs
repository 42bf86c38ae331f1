//! Typed keyspaces: the keys, the values and the lifetime of one kind of entry, declared once.

mod arc;
mod blocking;
mod fetch;
mod key;
mod load;
mod lock;
mod remove;
mod revision;

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
    marker::PhantomData,
    time::Duration,
};

pub use self::{
    arc::KeyspaceArcFetch,
    blocking::BlockingKeyspace,
    fetch::KeyspaceFetch,
    key::{KeyParts, Many, One},
};
use crate::{
    cache::{Cache, Failures},
    error::{Error, ErrorKind, Result},
    telemetry::stats::Outcome,
    timeout::{Timeout, Ttl},
    value::{Codec, Decode, Encode, Form},
};

/// A kind of entries: their keys, their values and their lifetime, declared once.
///
/// Keys have the type `K`, and values the type `V`. A key is a value of any type with `Display`,
/// or a tuple of such values; `()` is the key of a single entry. The stored key is
/// `name:schema:key`, with a colon between the parts of a tuple. Colons, percent signs, spaces and
/// control characters in the name and in the parts are escaped, so that different keys never become
/// the same stored key, in one keyspace and in any two with different names.
///
/// A keyspace works with each handle, also with those of [`at_version`](Cache::at_version),
/// [`strict`](Cache::strict) and, if its values are `Bytes`, [`bytes`](Cache::bytes).
/// [`blocking`](Self::blocking) returns the same keyspace for handles without async. For operations
/// that a keyspace does not have, use [`key`](Self::key).
///
/// Each call returns an error of kind `Config` if the cache cannot do what the keyspace declares:
/// see [`grace`](Self::grace), [`codec`](Self::codec) and [`revision`](Self::revision).
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
    grace: Option<Duration>,
    codec: Option<Codec>,
    revision: Option<fn(&V) -> u64>,
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
            grace: None,
            codec: None,
            revision: None,
            label: None,
            key: PhantomData,
            value: PhantomData,
        }
    }

    /// Sets the lifetime of the entries, for all calls that write. If unset, it is the
    /// [`timeout`](crate::CacheSettings::timeout) of the alias, also for [`fetch`](Self::fetch).
    #[must_use]
    pub const fn ttl(mut self, timeout: Timeout) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time after the [lifetime](Self::ttl) in which a loaded value may be served stale,
    /// as [`Fetch::grace`](crate::Fetch::grace) does for one fetch. If unset, it is the grace of
    /// the alias. Zero turns it off. Values of [`set`](Self::set) have no grace; those of
    /// [`prime`](KeyspaceFetch::prime) have.
    ///
    /// The calls return an error of kind `Config` if the cache does not have the setting
    /// [`grace`](crate::FetchSettings::grace) in its table `fetch`, or if the values never expire.
    #[must_use]
    pub const fn grace(mut self, time: Duration) -> Self {
        self.grace = Some(time);
        self
    }

    /// Sets the codec that writes the values. If unset, it is the codec of the alias. A value tells
    /// its codec, so that old values of another codec are still read.
    ///
    /// The calls return an error of kind `Config` if the setting
    /// [`read`](crate::CacheSettings::read) of the cache does not list the codec, and for handles
    /// of [`bytes`](Cache::bytes), which have no codec.
    ///
    /// ```
    /// # #[cfg(feature = "postcard")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Codec, Keyspace, secs}; use cache_memory::Memory;
    /// static POINTS: Keyspace<u64, Vec<(f32, f32)>> =
    ///     Keyspace::new("points").ttl(secs(60)).codec(Codec::Postcard);
    ///
    /// let cache = Cache::new("test", Memory::new()); // JSON
    /// POINTS.set(&cache, &7, &vec![(0.5, 1.5)]).await?;
    /// assert_eq!(POINTS.get(&cache, &7).await?, Some(vec![(0.5, 1.5)]));
    /// # Ok(()) }
    /// # #[cfg(not(feature = "postcard"))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub const fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Sets the version of the type of the values. Values of other versions are misses.
    #[must_use]
    pub const fn schema(mut self, version: u32) -> Self {
        self.schema = version;
        self
    }

    /// Sets the label in [`Stats::keyspaces`](crate::Stats::keyspaces), and in [metrics and
    /// spans](crate::telemetry). If unset, it is the name.
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
    pub async fn get<M, F>(&self, cache: &Cache<F>, key: &K) -> Result<Option<V>>
    where
        K: KeyParts<M>,
        F: Decode<V>,
    {
        let found = cache.get(&self.key_for(cache, key)?).await?;
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
    pub async fn get_many<Q, M, F>(
        &self,
        cache: &Cache<F>,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<HashMap<Q, V>>
    where
        Q: Borrow<K> + Eq + Hash,
        K: KeyParts<M>,
        F: Decode<V>,
    {
        self.check(cache)?;
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
    pub fn set<'a, M, F>(
        &self,
        cache: &'a Cache<F>,
        key: &K,
        value: &V,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, K, V, M, F>
    where
        K: KeyParts<M>,
        F: Encode<V>,
    {
        let (key, revision) = (self.key_for(cache, key), self.revision.map(|of| of(value)));
        let write =
            key.and_then(|key| cache.to_write(&key, value, self.timeout, self.codec, revision));
        async move { cache.write_stored(write?).await }
    }

    /// Stores all items with the lifetime of the keyspace: see [`Cache::set_many`]. The result
    /// lists the keys that were not written, in the form of [`key`](Self::key).
    ///
    /// # Errors
    /// As [`Cache::set_many`].
    ///
    /// # Cancel safety
    /// If the future is dropped, some items may be written.
    pub fn set_many<'a, Q, W, I, M, F>(
        &self,
        cache: &'a Cache<F>,
        items: I,
    ) -> impl Future<Output = Result<Failures>> + Send + use<'a, K, V, Q, W, I, M, F>
    where
        Q: Borrow<K>,
        F: Encode<W>,
        W: Borrow<V>,
        I: IntoIterator<Item = (Q, W)>,
        K: KeyParts<M>,
    {
        let items = items
            .into_iter()
            .map(|(key, value)| Ok((self.key_for(cache, Borrow::<K>::borrow(&key))?, value)));
        let revision = self.revision.map(|of| move |it: &W| of(it.borrow()));
        let write = items
            .collect::<Result<Vec<_>>>()
            .and_then(|it| cache.to_write_many(it, self.timeout, self.codec, revision.as_ref()));
        async move { cache.write_many(write?).await }
    }

    /// Removes a key: see [`Cache::delete`].
    ///
    /// # Errors
    /// As [`Cache::delete`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry may or may not be removed.
    pub async fn delete<M, F>(&self, cache: &Cache<F>, key: &K) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.delete(&self.key_for(cache, key)?).await
    }

    /// Returns the remaining lifetime of a key: see [`Cache::ttl`].
    ///
    /// # Errors
    /// As [`Cache::ttl`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    pub async fn ttl_of<M, F>(&self, cache: &Cache<F>, key: &K) -> Result<Option<Ttl>>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.ttl(&self.key_for(cache, key)?).await
    }

    /// Returns whether a key exists: see [`Cache::has_key`].
    ///
    /// # Errors
    /// As [`Cache::has_key`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    pub async fn has_key<M, F>(&self, cache: &Cache<F>, key: &K) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.has_key(&self.key_for(cache, key)?).await
    }

    /// Returns the key for a call of this handle.
    fn key_for<M, F>(&self, cache: &Cache<F>, key: &K) -> Result<String>
    where
        K: KeyParts<M>,
        F: Form,
    {
        self.check(cache)?;
        self.key(key)
    }

    /// Checks that the cache can do what the keyspace declares.
    fn check<F: Form>(&self, cache: &Cache<F>) -> Result<()> {
        let codec = self.codec.map_or(Ok(()), |it| cache.check_codec(it));
        let grace = || self.grace.map_or(Ok(()), |it| cache.check_grace(self.timeout, it));
        let revision = || self.revision.map_or(Ok(()), |_| cache.check_revision());
        let res = codec.and_then(|()| grace()).and_then(|()| revision());
        res.map_err(|(setting, what)| {
            Error::new(ErrorKind::Config, format!("`{setting}` of a keyspace: {what}"))
                .with_context("alias", cache.alias())
                .with_context("keyspace", self.name)
        })
    }

    fn count<F: Form>(&self, cache: &Cache<F>, is_hit: bool, keys: usize) {
        let outcome = if is_hit { Outcome::Hit } else { Outcome::Miss };
        cache.count_keyspace(self.label_or_name(), outcome, keys as u64);
    }

    fn label_or_name(&self) -> &'static str {
        self.label.unwrap_or(self.name)
    }
}

impl<K: ?Sized, V> fmt::Debug for Keyspace<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .field("ttl", &self.timeout)
            .field("grace", &self.grace)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
