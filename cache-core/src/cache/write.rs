use std::{mem, time::Duration};

use bytes::Bytes;

use super::{Cache, call_leader, call_write, enter_write, put_aside};
use crate::{
    error::Result,
    key::FullKey,
    layer::Operation,
    store::SetMode,
    telemetry::observer::{Direction, Size},
    timeout::{Expiry, IntoTimeout},
    value::{Codec, Encode, Form, envelope, revision::Change},
};

/// A write with its key and its serialized value. It is made before the future, so that the future
/// is `Send` for every type of value, and a value that cannot be serialized never reaches a store.
///
/// It is filled and used in place: each move would copy its 300 bytes.
struct Prepared {
    key: FullKey,
    value: Bytes,
    expiry: Option<Expiry>,
}

impl Prepared {
    fn new() -> Self {
        Self { key: FullKey::new(), value: Bytes::new(), expiry: None }
    }
}

/// A write in its stored form.
pub(crate) struct ToWrite {
    pub(super) key: FullKey,
    /// `None` removes the key.
    pub(super) stored: Option<(Bytes, Expiry)>,
    /// The revision in the stored form.
    pub(super) revision: Option<u64>,
}

impl ToWrite {
    /// Returns the write as a change that depends on the revision of the entry.
    pub(super) fn change(&self) -> Change {
        Change { new: self.stored.clone(), revision: self.revision }
    }
}

/// Writes.
impl<V: Form> Cache<V> {
    /// Stores a value under `key` with a new lifetime, and replaces an existing entry. A lifetime
    /// of zero removes the key.
    ///
    /// # Errors
    /// `TooLarge` if the value is larger than the store accepts. The old value is then deleted, so
    /// that it does not stay behind as a stale value. `Codec` if the value cannot be serialized or
    /// could not be read back: see [`Codec`]. Store errors if the cache does not fail
    /// open.
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout, secs}; use cache_memory::Memory;
    /// # use std::time::Duration;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("a", &[1, 2, 3], secs(60)).await?;
    /// cache.set("b", "text", Duration::from_millis(250)).await?;
    /// cache.set("c", &true, Timeout::Default).await?; // the alias's default
    /// cache.set("d", &1.5, Timeout::Never).await?;
    /// assert_eq!(cache.get::<Vec<u8>>("a").await?, Some(vec![1, 2, 3]));
    ///
    /// cache.set("a", "gone", secs(0)).await?;
    /// assert!(!cache.has_key("a").await?);
    /// # Ok(()) }
    /// ```
    pub fn set<'a, T, I>(
        &'a self,
        key: &str,
        value: &T,
        timeout: I,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, V, T, I>
    where
        V: Encode<T>,
        T: ?Sized,
        I: IntoTimeout,
    {
        let mut write = Prepared::new();
        let prepared = self.prepare(Operation::Set, key, value, timeout, &mut write);
        async move {
            prepared?;
            self.write(&mut write).await
        }
    }

    /// Stores a value if the key is missing, in one step. Returns whether the value was stored:
    /// with any number of concurrent callers, exactly one gets `true`.
    ///
    /// With a lifetime of zero, the call stores nothing and returns whether the key was missing.
    ///
    /// # Errors
    /// Never fails open. `TooLarge` if the value is larger than the store accepts. `Codec` as
    /// [`set`](Self::set).
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// assert!(cache.add("mail-sent", &true, secs(3600)).await?);
    /// assert!(!cache.add("mail-sent", &true, secs(3600)).await?);
    /// # Ok(()) }
    /// ```
    pub fn add<'a, T, I>(
        &'a self,
        key: &str,
        value: &T,
        timeout: I,
    ) -> impl Future<Output = Result<bool>> + Send + use<'a, V, T, I>
    where
        V: Encode<T>,
        T: ?Sized,
        I: IntoTimeout,
    {
        let mut write = Prepared::new();
        let prepared = self.prepare(Operation::Add, key, value, timeout, &mut write);
        async move {
            prepared?;
            let res = self.add_prepared(&mut write).await;
            self.answer(Operation::Add, Some(&write.key), res)
        }
    }

    /// Stores a value if the key exists, in one step. Returns whether the value was stored.
    ///
    /// With a lifetime of zero, the call removes the key and returns whether the key existed.
    ///
    /// # Errors
    /// Never fails open. `TooLarge` and `Codec` as [`set`](Self::set).
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// assert!(!cache.replace("k", &1, Timeout::Default).await?);
    /// cache.set("k", &1, Timeout::Default).await?;
    /// assert!(cache.replace("k", &2, Timeout::Default).await?);
    /// # Ok(()) }
    /// ```
    pub fn replace<'a, T, I>(
        &'a self,
        key: &str,
        value: &T,
        timeout: I,
    ) -> impl Future<Output = Result<bool>> + Send + use<'a, V, T, I>
    where
        V: Encode<T>,
        T: ?Sized,
        I: IntoTimeout,
    {
        let mut write = Prepared::new();
        let prepared = self.prepare(Operation::Replace, key, value, timeout, &mut write);
        async move {
            prepared?;
            let res = self.replace_prepared(&mut write).await;
            self.answer(Operation::Replace, Some(&write.key), res)
        }
    }

    fn prepare<T: ?Sized>(
        &self,
        operation: Operation,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
        write: &mut Prepared,
    ) -> Result<()>
    where
        V: Encode<T>,
    {
        write.expiry = self.expiry(timeout);
        self.write_key(operation, key, &mut write.key)?;
        write.value = self.sealed(operation, &write.key, value, None)?;
        Ok(())
    }

    /// Returns the bytes that the store keeps for the value of a write, and counts them. `codec`
    /// replaces the codec of the alias.
    pub(super) fn sealed<T: ?Sized>(
        &self,
        operation: Operation,
        key: &FullKey,
        value: &T,
        codec: Option<Codec>,
    ) -> Result<Bytes>
    where
        V: Encode<T>,
    {
        let sealed = self.seal(value, codec);
        let sealed = sealed.map_err(|it| self.fail(operation, Some(key), it))?;
        self.shared.observer.bytes(Direction::Written, Size::of(&sealed));
        Ok(sealed)
    }

    /// Makes a write of which the value is in its stored form. With a revision, it has no effect if
    /// the key has a newer one.
    pub(crate) async fn write_stored(&self, mut write: ToWrite) -> Result<()> {
        if write.revision.is_some() {
            if let Err(error) = enter_write!(self, &mut write.key) {
                Box::pin(self.not_entered(&write.key, &error)).await;
                return self.answer_or(Operation::Set, &write.key, Err(error), ());
            }
            let res = match self.tag_revision(&mut write).await {
                Ok(()) => self.apply(Operation::Set, &write.key, &write.change()).await.map(drop),
                Err(error) => Err(error),
            };
            if res.is_err() {
                self.written(&write.key, None, &res);
            }
            return self.answer_or(Operation::Set, &write.key, res, ());
        }
        let (value, expiry) = write.stored.unzip();
        let value = value.unwrap_or_default();
        self.write(&mut Prepared { key: write.key, value, expiry }).await
    }

    async fn write(&self, write: &mut Prepared) -> Result<()> {
        if let Err(error) = enter_write!(self, &mut write.key) {
            Box::pin(self.not_entered(&write.key, &error)).await;
            return self.answer_or(Operation::Set, &write.key, Err(error), ());
        }
        let tagged = self.tag(write).await;
        // A clone would allocate the count of its references.
        let (key, value) = (&write.key, mem::take(&mut write.value));
        let writing = self.before_write(key).await;
        let moment = self.shared.tombstones.moment();
        let res: Result<bool> = match (tagged, write.expiry) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(expiry)) => {
                call_write!(self, writing, set(key, value, expiry, SetMode::Always))
            }
            (Ok(()), None) => call_write!(self, writing, delete(key)),
        };
        let res = res.map(drop);
        self.written(key, moment, &res);
        self.answer_or(Operation::Set, key, res, ())
    }

    /// Adds the tags of this handle to the value of a write.
    async fn tag(&self, write: &mut Prepared) -> Result<()> {
        if write.expiry.is_some()
            && let Some(tags) = self.own_tags().await?
        {
            write.value = envelope::with_tags(&write.value, &tags);
        }
        Ok(())
    }

    /// Adds the tags of this handle to a value with a revision.
    pub(super) async fn tag_revision(&self, write: &mut ToWrite) -> Result<()> {
        if let Some((value, _)) = &mut write.stored
            && let Some(tags) = self.own_tags().await?
        {
            *value = envelope::with_tags(value, &tags);
        }
        Ok(())
    }

    /// Removes the tombstone of a key after a write or a delete of any entry, or adds one if the
    /// call failed open.
    pub(super) fn written(&self, key: &str, moment: Option<u64>, res: &Result<()>) {
        match res {
            Ok(()) if moment.is_some() => {
                self.shared.tombstones.remove(key, moment);
                self.store_may_answer();
            }
            Err(error) if self.hides(error) => self.add_tombstone(key),
            Ok(()) | Err(_) => {}
        }
    }

    /// Removes the tombstone of a key after a delete, or adds one if the delete failed. It is sent
    /// again also if its caller sees the error: a caller that gives up leaves no deleted value.
    pub(super) fn removed(&self, key: &str, moment: Option<u64>, res: &Result<bool>) {
        match res {
            Err(error) if error.kind().fails_open() => self.add_tombstone(key),
            res => self.written(key, moment, &res.clone().map(drop)),
        }
    }

    async fn add_prepared(&self, write: &mut Prepared) -> Result<bool> {
        enter_write!(self, &mut write.key)?;
        self.tag(write).await?;
        let (key, value) = (&write.key, mem::take(&mut write.value));
        self.resolve(key).await?;
        if self.shared.fetch.has_entries {
            return Box::pin(self.add_entry(key, &value, write.expiry)).await;
        }
        let writing = self.before_write(key).await;
        if let Some(expiry) = write.expiry {
            return call_write!(self, writing, set(key, value, expiry, SetMode::IfAbsent));
        }
        // `add` never fails open, so its read must not be stale.
        let has: Result<bool> = call_leader!(self.has(key));
        has.map(|it| !it)
    }

    async fn replace_prepared(&self, write: &mut Prepared) -> Result<bool> {
        enter_write!(self, &mut write.key)?;
        self.tag(write).await?;
        let (key, value) = (&write.key, mem::take(&mut write.value));
        self.resolve(key).await?;
        if self.shared.fetch.has_entries {
            return Box::pin(self.replace_entry(key, &value, write.expiry)).await;
        }
        let writing = self.before_write(key).await;
        match write.expiry {
            Some(expiry) => {
                call_write!(self, writing, set(key, value, expiry, SetMode::IfPresent))
            }
            None => call_write!(self, writing, delete(key)),
        }
    }

    /// Resolves the tombstone of a key for a call that never fails open.
    pub(super) async fn resolved(&self, operation: Operation, key: &str) -> Result<()> {
        self.resolve(key).await.map_err(|error| self.fail(operation, Some(key), error))
    }
}
