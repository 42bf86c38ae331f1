use std::{any::type_name, fmt};

use bytes::Bytes;

use super::{Cache, call, call_leader, enter};
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    store::Expected,
    telemetry::{
        observer::{Direction, Size},
        stats::{Event, Outcome},
    },
    timeout::{IntoTimeout, Ttl},
    value::{Decode, Form, Undecodable, envelope},
};

/// Reads.
impl<V: Form> Cache<V> {
    /// Returns the value of `key`, or `None` if the key is missing or expired. A stored `None` is
    /// `Some(None)`.
    ///
    /// Bytes that do not decode as a `T` (written by another release, damaged) count as a miss. A
    /// value that is not a byte string counts as a miss too, for example a list that another
    /// program keeps in Redis. [`stats`](Self::stats) counts both.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open. In [strict](Self::strict) mode, `Codec` for
    /// bytes that do not decode and `WrongType` for a value that is not a byte string.
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("user", &("Ada", 36), Timeout::Default).await?;
    /// assert_eq!(cache.get::<(String, u8)>("user").await?, Some(("Ada".into(), 36)));
    /// assert_eq!(cache.get::<u8>("user").await?, None, "not a number");
    ///
    /// cache.set("nobody", &None::<u8>, Timeout::Default).await?;
    /// assert_eq!(cache.get::<Option<u8>>("nobody").await?, Some(None));
    /// # Ok(()) }
    /// ```
    pub async fn get<T>(&self, key: &str) -> Result<Option<T>>
    where
        V: Decode<T>,
    {
        let mut full = FullKey::new();
        self.write_key(Operation::Get, key, &mut full)?;
        let res = match enter!(self, &mut full) {
            Ok(()) if self.is_plain() => match self.near_value(&full) {
                None => call!(self.get(&full)),
                found => Ok(found),
            },
            Ok(()) => self.read(&full).await,
            Err(error) => Err(error),
        };
        // A hit needs no further future. Misses and errors take the slow path.
        let res = match res {
            Ok(Some(stored)) => {
                let size = Size::of(&stored);
                match V::take(stored, &self.shared.values) {
                    Ok(value) => {
                        self.shared.observer.bytes(Direction::Read, size);
                        self.count(Operation::Get, Outcome::Hit);
                        return Ok(Some(value));
                    }
                    Err(stored) => Ok(Some(stored)),
                }
            }
            res => res,
        };
        self.decoded(Operation::Get, &full, res).await
    }

    /// Returns whether `key` exists. The value is not decoded, and is not transferred unless the
    /// cache has `revisions`, `tags`, a `grace`, a `negative_ttl` or `fenced`.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open.
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("k", "v", Timeout::Default).await?;
    /// assert!(cache.has_key("k").await? && !cache.has_key("other").await?);
    /// # Ok(()) }
    /// ```
    pub async fn has_key(&self, key: &str) -> Result<bool> {
        let mut key = self.key(Operation::HasKey, key)?;
        let res = match self.ready_for_metadata(&mut key).await {
            Ok(()) => match self.recall(&key, false) {
                Some(known) => Ok(known.0.is_some()),
                None if self.shared.fetch.has_entries => {
                    Box::pin(self.fresh_ttl(&key)).await.map(|it| it.is_some())
                }
                None => call!(self.has(&key)),
            },
            Err(error) => Err(error),
        };
        let res = res.map(|it: bool| it.then_some(()));
        self.found_or_miss(Operation::HasKey, &key, res).map(|it| it.is_some())
    }

    /// Returns the remaining lifetime of `key`, or `None` if the key is missing or expired.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open.
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout, Ttl}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("k", "v", Timeout::Never).await?;
    /// assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    /// assert_eq!(cache.ttl("other").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let mut key = self.key(Operation::Ttl, key)?;
        let res = match self.ready_for_metadata(&mut key).await {
            Ok(()) if self.shared.fetch.has_entries => Box::pin(self.fresh_ttl(&key)).await,
            Ok(()) => call!(self.ttl(&key)),
            Err(error) => Err(error),
        };
        self.found_or_miss(Operation::Ttl, &key, res)
    }

    /// Sets a new lifetime for `key`. Returns `true` if the key existed. A lifetime of zero removes
    /// the key. The value is not transferred unless the cache has `revisions`, `tags`, a `grace`, a
    /// `negative_ttl` or `fenced`.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open.
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry has its old lifetime or the new one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout, Ttl, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("k", "v", secs(60)).await?;
    /// assert!(cache.touch("k", Timeout::Never).await?);
    /// assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    /// assert!(!cache.touch("other", secs(60)).await?);
    /// # Ok(()) }
    /// ```
    pub async fn touch(&self, key: &str, timeout: impl IntoTimeout) -> Result<bool> {
        let Some(expiry) = self.expiry(timeout) else { return self.delete(key).await };
        let mut key = self.key(Operation::Touch, key)?;
        let res = match self.ready_for_metadata(&mut key).await {
            Ok(()) if self.shared.fetch.has_entries => {
                Box::pin(self.touch_entry(&key, expiry)).await
            }
            Ok(()) => call!(self.touch(&key, expiry)),
            Err(error) => Err(error),
        };
        let res = res.map(|it: bool| it.then_some(()));
        self.found_or_miss(Operation::Touch, &key, res).map(|it| it.is_some())
    }

    /// Makes the key ready for a call that does not use the value.
    async fn ready_for_metadata(&self, key: &mut FullKey) -> Result<()> {
        enter!(self, key)?;
        self.resolve_for_metadata(key).await
    }

    /// Reads the stored bytes, if a read is not a plain `get` of the store.
    pub(super) async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        if self.is_memoized() {
            return Box::pin(self.memoized(key, false, self.read_stored(key))).await;
        }
        self.read_stored(key).await
    }

    async fn read_stored(&self, key: &str) -> Result<Option<Bytes>> {
        if self.shared.fetch.has_entries {
            return self.read_fresh(key, false).await;
        }
        self.resolve_for_read(key).await?;
        self.heard(call!(self.get(key)))
    }

    /// Returns the stored bytes of a key if they are in memory, in front of a store or on a bus.
    /// This needs no future.
    #[inline]
    fn near_value(&self, key: &str) -> Option<Bytes> {
        self.shared.in_memory.as_ref()?.value(key)
    }

    /// Reads the stored bytes before a load. A near tier reads where the store writes, as well.
    pub(super) async fn read_first(&self, key: &str) -> Result<Option<Bytes>> {
        if self.shared.in_memory.is_none() {
            return self.read_leader(key).await;
        }
        if self.is_plain()
            && let Some(found) = self.near_value(key)
        {
            return Ok(Some(found));
        }
        self.read(key).await
    }

    /// Starts the pending deletes of tombstones when the store answers.
    pub(super) fn heard<T>(&self, res: Result<T>) -> Result<T> {
        if res.is_ok() {
            self.store_may_answer();
        }
        res
    }

    /// Reads the stored bytes by the server that takes the writes, unless the key has a tombstone.
    #[inline]
    pub(super) async fn read_leader(&self, key: &str) -> Result<Option<Bytes>> {
        if self.is_memoized() {
            return Box::pin(self.memoized(key, true, self.read_leader_stored(key))).await;
        }
        self.read_leader_stored(key).await
    }

    #[inline]
    async fn read_leader_stored(&self, key: &str) -> Result<Option<Bytes>> {
        if self.shared.fetch.has_entries {
            return self.read_fresh(key, true).await;
        }
        if self.shared.tombstones.len() > 0 {
            self.resolve_for_read(key).await?;
            return self.heard(call_leader!(self.get(key)));
        }
        call_leader!(self.get(key))
    }

    /// Decodes stored bytes and counts the outcome. Store errors fail open as a miss.
    pub(super) async fn decoded<T>(
        &self,
        operation: Operation,
        key: &str,
        res: Result<Option<Bytes>>,
    ) -> Result<Option<T>>
    where
        V: Decode<T>,
    {
        self.decoded_by::<T, T>(operation, key, res, |stored| self.open(stored)).await
    }

    /// Decodes the stored bytes of a `T` by `open`, and does the same.
    pub(super) async fn decoded_by<T, R>(
        &self,
        operation: Operation,
        key: &str,
        res: Result<Option<Bytes>>,
        open: impl FnOnce(&Bytes) -> Result<R, Undecodable>,
    ) -> Result<Option<R>> {
        let stored = match res {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                self.count(operation, Outcome::Miss);
                return Ok(None);
            }
            Err(error) if error.kind().is_unreadable() => {
                return self.no_bytes::<T>(operation, key, error).map(|_| None);
            }
            Err(error) => return self.found_or_miss(operation, key, Err(error)),
        };
        self.shared.observer.bytes(Direction::Read, Size::of(&stored));
        match open(&stored) {
            Ok(value) => {
                self.count(operation, Outcome::Hit);
                Ok(Some(value))
            }
            Err(why) => {
                self.count(operation, Outcome::Miss);
                self.undecodable::<T>(operation, key, &stored, why).await.map(|()| None)
            }
        }
    }

    /// Counts stored bytes that do not decode. Returns an error in strict mode. The caller counts
    /// the miss.
    pub(super) async fn undecodable<T: ?Sized>(
        &self,
        operation: Operation,
        key: &str,
        stored: &Bytes,
        why: Undecodable,
    ) -> Result<()> {
        self.note_undecodable::<T>(operation, key, stored, why).await;
        if !self.strict {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Codec, why.to_string());
        let error = error.with_context("type", type_name::<T>());
        Err(self.in_context(error, operation, Some(key)))
    }

    /// Counts stored bytes that do not decode. Damaged bytes are removed. Bytes that another type
    /// or release may read stay.
    pub(super) async fn note_undecodable<T: ?Sized>(
        &self,
        operation: Operation,
        key: &str,
        stored: &Bytes,
        why: Undecodable,
    ) {
        self.count_undecodable(operation, key, type_name::<T>(), &why);
        if why == Undecodable::Damaged {
            Box::pin(self.purge(key, stored)).await;
        }
    }

    /// Handles a read of a value that is not a byte string as [`undecodable`](Self::undecodable)
    /// does. The value belongs to another program and stays.
    pub(super) fn no_bytes<T>(
        &self,
        operation: Operation,
        key: &str,
        error: Error,
    ) -> Result<Option<T>> {
        self.count(operation, Outcome::Miss);
        self.count_undecodable(operation, key, type_name::<T>(), &error.message());
        if self.strict { Err(self.in_context(error, operation, Some(key))) } else { Ok(None) }
    }

    pub(super) fn count_undecodable(
        &self,
        operation: Operation,
        key: &str,
        wanted: &'static str,
        why: &dyn fmt::Display,
    ) {
        self.shared.counters.event(Event::Undecodable);
        self.shared.observer.undecodable(operation, key, wanted, why);
    }

    /// Removes an entry that does not decode, if its bytes and lifetime have not changed since the
    /// read.
    async fn purge(&self, key: &str, stored: &Bytes) {
        if let Some(in_memory) = &self.shared.in_memory {
            // The store may hold another value by now.
            in_memory.forget_copy(key);
        }
        let entry = call_leader!(self.get_entry(key));
        if let Ok(Some(entry)) = entry
            && envelope::find(entry.value.clone(), entry.ttl).into_value().as_ref() == Some(stored)
        {
            // If the removal fails, the next reader has a miss.
            let _: Result<bool> = call!(self.compare_and_delete(key, Expected::entry(&entry)));
        }
    }
}
