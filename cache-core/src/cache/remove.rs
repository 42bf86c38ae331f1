use std::time::Duration;

use bytes::Bytes;

use super::{Cache, call_write, enter_write, put_aside};
use crate::{
    error::Result,
    layer::Operation,
    value::{Decode, Form},
};

/// Deletes.
impl<V: Form> Cache<V> {
    /// Removes `key`. Returns `true` if the key existed.
    ///
    /// A load of the key that is in progress does not store its value afterwards. If the store
    /// fails, reads of the key are misses until the old entry has been removed: the delete is sent
    /// again in the background. The call returns `false` if the cache fails open.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open. The delete is pending then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry may or may not be removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("k", &1, Timeout::Default).await?;
    /// assert!(cache.delete("k").await? && !cache.delete("k").await?);
    /// # Ok(()) }
    /// ```
    pub async fn delete(&self, key: &str) -> Result<bool> {
        let mut key = self.key(Operation::Delete, key)?;
        if let Err(error) = enter_write!(self, &mut key) {
            Box::pin(self.not_entered(&key, &error)).await;
            return self.answer_or(Operation::Delete, &key, Err(error), false);
        }
        let writing = self.before_write(&key).await;
        let moment = self.shared.tombstones.moment();
        let res: Result<bool> = if self.shared.fetch.has_marks() {
            Box::pin(self.remove_value(&key, &writing)).await
        } else {
            call_write!(self, writing, delete(&key))
        };
        self.removed(&key, moment, &res);
        self.answer_or(Operation::Delete, &key, res, false)
    }

    /// Reads and removes a value in one step. Exactly one of several callers gets the value. Bytes
    /// that do not decode as a `T` count as missing, as with [`get`](Self::get).
    ///
    /// # Errors
    /// Never fails open. In [strict](Self::strict) mode, `Codec` for bytes that do not decode and
    /// `WrongType` for a value that is not a byte string.
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry may have been removed, and its value is lost.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("token", "abc", Timeout::Default).await?;
    /// assert_eq!(cache.pop::<String>("token").await?.as_deref(), Some("abc"));
    /// assert_eq!(cache.pop::<String>("token").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn pop<T>(&self, key: &str) -> Result<Option<T>>
    where
        V: Decode<T>,
    {
        let mut key = self.key(Operation::Pop, key)?;
        self.entered(Operation::Pop, &mut key).await?;
        self.resolved(Operation::Pop, &key).await?;
        let res: Result<Option<Bytes>> = if self.shared.fetch.has_entries {
            Box::pin(self.take_entry(&key)).await
        } else {
            let writing = self.before_write(&key).await;
            call_write!(self, writing, take(&key))
        };
        match res {
            Ok(stored) => self.decoded(Operation::Pop, &key, Ok(stored)).await,
            Err(error) if error.kind().is_unreadable() => {
                self.no_bytes(Operation::Pop, &key, error)
            }
            Err(error) => Err(self.fail(Operation::Pop, Some(&key), error)),
        }
    }
}
