use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Cache, call_write, put_aside};
use crate::{error::Result, layer::Operation};

/// Removing.
impl Cache {
    /// Removes `key`; `true` if it was there.
    ///
    /// A load of the key that is in progress does not bring it back. If the store fails, the answer is `false`, and reads
    /// of the key are misses until the old entry has been removed.
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
        let key = self.key(Operation::Delete, key)?;
        let writing = self.before_write(&key).await;
        let moment = self.shared.tombstones.moment();
        let res: Result<bool> = call_write!(self, writing, delete(&key));
        self.written(&key, moment, &res.clone().map(drop));
        self.answer_or(Operation::Delete, &key, res, false)
    }

    /// Reads and removes a value in one step: of several callers one gets it. Never fails open.
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
    pub async fn pop<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let key = self.key(Operation::Pop, key)?;
        self.resolved(Operation::Pop, &key).await?;
        let writing = self.before_write(&key).await;
        let res: Result<Option<Bytes>> = call_write!(self, writing, take(&key));
        match res {
            Ok(stored) => self.decoded(Operation::Pop, &key, Ok(stored)).await,
            Err(error) if error.kind().is_unreadable() => {
                self.no_bytes(Operation::Pop, &key, error)
            }
            Err(error) => Err(self.fail(Operation::Pop, Some(&key), error)),
        }
    }
}
