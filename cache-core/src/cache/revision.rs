//! Writes and deletes with a revision.

mod apply;
mod blocking;
mod load;
mod many;

pub(super) use self::apply::Known;
use super::{Cache, ToWrite};
use crate::{
    error::{Error, ErrorKind, Result},
    layer::Operation,
    timeout::IntoTimeout,
    value::{Codec, Encode, Form, revision::Change},
};

/// Writes with a revision: a row version, or a time of change as a number.
impl<V: Form> Cache<V> {
    /// Stores a value under `key`, unless a newer revision is stored. Returns whether the value was
    /// stored: `false` means that the key holds something at least as new.
    ///
    /// An older revision never replaces a newer one, whatever the order of arrival, from any
    /// process. An equal revision replaces only the same value, whose lifetime it renews, and a
    /// value that is past its timeout or whose tag was invalidated. A value without a revision is
    /// older than every revision. The cache must have the setting
    /// [`revisions`](crate::CacheSettings::revisions).
    ///
    /// - The store keeps a revision as long as its entry. When a value expires or is evicted, an
    ///   older one can be stored again.
    /// - Calls without a revision (`set`, `delete`, `add`, `update`, …) always win, and clear the
    ///   revision.
    /// - A value with a revision is not an integer for [`incr`](Self::incr).
    /// - A lifetime of zero removes the key, unless a newer revision is stored.
    ///
    /// The call reads the entry and compares and sets it: one round trip for a new key, two for
    /// another one. Calls for one key in this process run one after the other.
    ///
    /// # Errors
    /// Never fails open. `Config` if the cache does not have the setting. `TooLarge` if the value
    /// is larger than the store accepts; an older value is then deleted. `Codec` as
    /// [`set`](Self::set). `TimedOut` also if the key had no turn within the deadline of one call,
    /// or other processes changed it all the time.
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// let cache = Cache::builder(Memory::new()).revisions(true).build("test")?;
    /// assert!(cache.set_revision("user:7", "Ada", 12, secs(60)).await?);
    /// // A message that arrives late:
    /// assert!(!cache.set_revision("user:7", "Bob", 11, secs(60)).await?);
    /// assert_eq!(cache.get::<String>("user:7").await?.as_deref(), Some("Ada"));
    /// # Ok(()) }
    /// ```
    pub fn set_revision<'a, T, I>(
        &'a self,
        key: &str,
        value: &T,
        revision: u64,
        timeout: I,
    ) -> impl Future<Output = Result<bool>> + Send + use<'a, V, T, I>
    where
        V: Encode<T>,
        T: ?Sized,
        I: IntoTimeout,
    {
        let write = self.to_write_revision(key, value, timeout, None, revision);
        async move { self.write_revision(write?).await }
    }

    /// Removes `key`, unless a newer revision is stored, and keeps values of this revision and of
    /// older ones out for the time `floor`. Returns `false` if a newer revision is stored.
    ///
    /// The floor is an entry with a revision and without a value. All calls take it for an absent
    /// key. Until it ends:
    ///
    /// - [`set_revision`](Self::set_revision) and loads with this revision or an older one store
    ///   nothing;
    /// - loads without a revision store nothing, because they may have read the deleted row;
    /// - a newer revision replaces it, and so does every call without a revision that writes. If
    ///   the newer value expires before the floor would have ended, no floor is left.
    ///
    /// A floor should last as long as an old value can be under way: the load deadline, and the
    /// time by which a replica of the database lags behind. With a floor of zero the call only
    /// removes. A second delete does not shorten the floor of the first.
    ///
    /// # Errors
    /// Never fails open. `Config` and `TimedOut` as [`set_revision`](Self::set_revision).
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry may or may not be removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// let cache = Cache::builder(Memory::new()).revisions(true).build("test")?;
    /// cache.set_revision("user:7", "Ada", 12, secs(300)).await?;
    /// assert!(cache.delete_revision("user:7", 12, secs(30)).await?);
    /// assert!(!cache.has_key("user:7").await?);
    /// // A process that read the row before its delete:
    /// assert!(!cache.set_revision("user:7", "Ada", 12, secs(300)).await?);
    /// # Ok(()) }
    /// ```
    pub async fn delete_revision(
        &self,
        key: &str,
        revision: u64,
        floor: impl IntoTimeout,
    ) -> Result<bool> {
        self.check_revisions(Operation::DeleteRevision)?;
        let change = Change::delete(revision, self.expiry(floor));
        let mut key = self.key(Operation::DeleteRevision, key)?;
        self.entered(Operation::DeleteRevision, &mut key).await?;
        let res = self.apply(Operation::DeleteRevision, &key, &change).await;
        self.answer(Operation::DeleteRevision, Some(&key), res)
    }

    /// Returns what [`write_revision`](Self::write_revision) stores for a value.
    pub(crate) fn to_write_revision<T: ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
        codec: Option<Codec>,
        revision: u64,
    ) -> Result<ToWrite>
    where
        V: Encode<T>,
    {
        self.check_revisions(Operation::SetRevision)?;
        self.to_write(key, value, timeout, codec, Some(revision))
    }

    /// Makes a write with a revision. Returns whether the value was stored.
    pub(crate) async fn write_revision(&self, mut write: ToWrite) -> Result<bool> {
        self.entered(Operation::SetRevision, &mut write.key).await?;
        let res = match self.tag_revision(&mut write).await {
            Ok(()) => self.apply(Operation::SetRevision, &write.key, &write.change()).await,
            Err(error) => Err(error),
        };
        self.answer(Operation::SetRevision, Some(&write.key), res)
    }

    fn check_revisions(&self, operation: Operation) -> Result<()> {
        let checked = self.check_revision();
        checked.map_err(|(_, what)| self.refuse(operation, Error::new(ErrorKind::Config, what)))
    }
}
