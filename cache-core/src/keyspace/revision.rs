//! The revisions of the values of a keyspace.

use super::{KeyParts, Keyspace};
use crate::{
    cache::Cache,
    error::Result,
    timeout::IntoTimeout,
    value::{Encode, Form},
};

impl<K: ?Sized, V> Keyspace<K, V> {
    /// Sets the function that returns the revision of a value: its row version, or its time of
    /// change as a number. [`set`](Self::set), [`set_many`](Self::set_many),
    /// [`prime`](super::KeyspaceFetch::prime) and all loads of the keyspace then store a value only
    /// if no newer one is stored, see [`Cache::set_revision`]. A value that is too old is not an
    /// error: the key has a newer one.
    ///
    /// The calls return an error of kind `Config` if the cache does not have the setting
    /// [`revisions`](crate::CacheSettings::revisions).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace, secs}; use cache_memory::Memory;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct User {
    ///     name: String,
    ///     version: u64,
    /// }
    /// static USERS: Keyspace<u64, User> =
    ///     Keyspace::new("user").ttl(secs(300)).revision(|user| user.version);
    ///
    /// let cache = Cache::builder(Memory::new()).revisions(true).build("test")?;
    /// let user = |name: &str, version| User { name: name.into(), version };
    /// USERS.set(&cache, &7, &user("Ada", 12)).await?;
    /// USERS.set(&cache, &7, &user("Bob", 11)).await?; // arrives late
    /// assert_eq!(USERS.get(&cache, &7).await?, Some(user("Ada", 12)));
    /// assert_eq!(cache.stats().revisions_refused, 1);
    ///
    /// assert!(USERS.delete_revision(&cache, &7, 12, secs(30)).await?);
    /// USERS.set(&cache, &7, &user("Ada", 12)).await?; // arrives late
    /// assert_eq!(USERS.get(&cache, &7).await?, None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn revision(mut self, of: fn(&V) -> u64) -> Self {
        self.revision = Some(of);
        self
    }

    /// Stores a value with this revision and the lifetime of the keyspace: see
    /// [`Cache::set_revision`]. Returns whether the value was stored, which [`set`](Self::set) does
    /// not tell.
    ///
    /// # Errors
    /// As [`Cache::set_revision`].
    ///
    /// # Cancel safety
    /// As [`Cache::set_revision`].
    pub fn set_revision<'a, M, F>(
        &self,
        cache: &'a Cache<F>,
        key: &K,
        value: &V,
        revision: u64,
    ) -> impl Future<Output = Result<bool>> + Send + use<'a, K, V, M, F>
    where
        K: KeyParts<M>,
        F: Encode<V>,
    {
        let key = self.key_for(cache, key);
        let write = key.and_then(|key| {
            cache.to_write_revision(&key, value, self.timeout, self.codec, revision)
        });
        async move { cache.write_revision(write?).await }
    }

    /// Removes a key, unless a newer revision is stored, and keeps values of this revision and of
    /// older ones out for the time `floor`: see [`Cache::delete_revision`].
    ///
    /// # Errors
    /// As [`Cache::delete_revision`].
    ///
    /// # Cancel safety
    /// As [`Cache::delete_revision`].
    pub async fn delete_revision<M, F>(
        &self,
        cache: &Cache<F>,
        key: &K,
        revision: u64,
        floor: impl IntoTimeout,
    ) -> Result<bool>
    where
        K: KeyParts<M>,
        F: Form,
    {
        cache.delete_revision(&self.key_for(cache, key)?, revision, floor).await
    }
}
