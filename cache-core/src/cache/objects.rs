//! Decoded values, which a store in the process keeps beside the bytes of its entries.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Cache, call, enter, kept_objects::Decoded};
use crate::{
    error::Result,
    key::FullKey,
    layer::Operation,
    store::Kept,
    telemetry::{
        observer::{Direction, Size},
        stats::Outcome,
    },
    timeout::Ttl,
    value::{
        Decode, Form, Undecodable,
        envelope::{self, Found, Validity},
    },
};

/// Shared values.
impl<V: Form> Cache<V> {
    /// Returns the value of `key` as [`get`](Self::get) does, shared: a store in the process, and
    /// the [near tier](crate::NearSettings) of another store, keep the decoded value beside the
    /// stored bytes. A hit is then a lookup and a reference count, without decoding or allocation.
    ///
    /// The decoded value is dropped when its entry is replaced, removed or evicted, or has expired.
    /// It is never returned for other bytes than those from which it was decoded. An entry keeps
    /// one decoded value: callers that ask for another type, and other aliases with the same keys,
    /// decode the bytes each time. So do all callers of a store without a near tier that is not in
    /// the process.
    ///
    /// The limit `max_bytes` counts the stored bytes alone, because the size of a decoded value in
    /// memory is unknown. If decoded values are much larger, set `max_entries` as well.
    ///
    /// The call that removes an entry drops its decoded value. Its `Drop` must not call this cache.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// A dropped future leaves the entry as it was.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory; use std::sync::Arc;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("roles", &["admin", "editor"], Timeout::Default).await?;
    /// let first = cache.get_arc::<Vec<String>>("roles").await?.unwrap();
    /// let second = cache.get_arc::<Vec<String>>("roles").await?.unwrap();
    /// assert!(Arc::ptr_eq(&first, &second), "decoded once");
    ///
    /// cache.set("roles", &["reader"], Timeout::Default).await?;
    /// assert_eq!(*cache.get_arc::<Vec<String>>("roles").await?.unwrap(), ["reader"]);
    /// # Ok(()) }
    /// ```
    pub async fn get_arc<T>(&self, key: &str) -> Result<Option<Arc<T>>>
    where
        V: Decode<T>,
        T: Send + Sync + 'static,
    {
        let mut full = FullKey::new();
        self.write_key(Operation::Get, key, &mut full)?;
        let res = match enter!(self, &mut full) {
            // A scope that remembers reads decides which bytes are read.
            Ok(()) if !self.is_memoized() => {
                if let Some((value, _)) = self.shared_at_once(Operation::Get, &full, false) {
                    return Ok(Some(value));
                }
                if self.is_plain() { call!(self.get(&full)) } else { self.read(&full).await }
            }
            Ok(()) => self.read(&full).await,
            Err(error) => Err(error),
        };
        let open = |stored: &Bytes| self.open_shared(&full, stored);
        self.decoded_by::<T, Arc<T>>(Operation::Get, &full, res, open).await
    }

    /// Returns the decoded value of a key and its age, if it is kept and no call of the store is
    /// needed. Counts the hit. The age is known only if it is wanted.
    #[inline]
    pub(super) fn shared_at_once<T>(
        &self,
        operation: Operation,
        key: &str,
        wants_age: bool,
    ) -> Option<(Arc<T>, Option<Duration>)>
    where
        V: Decode<T>,
        T: Send + Sync + 'static,
    {
        let objects = self.shared.objects.as_ref()?;
        if self.shared.tombstones.len() > 0 {
            return None;
        }
        let mut found = None;
        objects.store.read(key, &mut |kept| {
            if let Some(it) = objects.decoded::<V, T>(kept)
                && self.is_served(it, kept)
            {
                let age = if wants_age { it.terms.age(kept.ttl()) } else { None };
                found = Some((Arc::clone(&it.value), Size::of(&it.stored), age));
            }
        });
        let (value, size, age) = found?;
        if let Some(in_memory) = &self.shared.in_memory {
            in_memory.count_hit();
        }
        self.shared.observer.bytes(Direction::Read, size);
        self.count(operation, Outcome::Hit);
        Some((value, age))
    }

    /// Returns whether the value is fresh, and its tags are valid as far as it is remembered.
    fn is_served<T>(&self, decoded: &Decoded<V, T>, kept: &Kept<'_>) -> bool {
        let Decoded { terms, tags, .. } = decoded;
        let is_fresh = || match kept.ttl() {
            Ttl::Remaining(left) => left > terms.grace,
            Ttl::Forever => true,
        };
        (terms.grace.is_zero() || is_fresh())
            && (tags.is_empty() || self.remembered_validity(tags) == Some(Validity::Valid))
    }

    /// Reads stored bytes as a shared value: the one that is kept beside these bytes, or a new one,
    /// which is then kept.
    pub(super) fn open_shared<T>(&self, key: &str, stored: &Bytes) -> Result<Arc<T>, Undecodable>
    where
        V: Decode<T>,
        T: Send + Sync + 'static,
    {
        let Some(objects) = &self.shared.objects else { return self.open(stored).map(Arc::new) };
        let mut found = None;
        objects.store.read(key, &mut |kept| {
            let decoded = objects.decoded::<V, T>(kept);
            found =
                decoded.filter(|it| is_same(&it.stored, stored)).map(|it| Arc::clone(&it.value));
        });
        if let Some(value) = found {
            return Ok(value);
        }
        let value = Arc::new(self.open(stored)?);
        objects.store.keep(key, &mut |bytes| {
            let unverified = envelope::find(bytes, Ttl::Forever);
            let tags = unverified.tags().clone();
            let Found::Fresh(found, terms) = unverified.verified(Validity::Valid) else {
                return None;
            };
            // The entry may have been replaced since it was read.
            is_same(&found, stored).then(|| {
                let (value, alias) = (Arc::clone(&value), objects.alias);
                let form = PhantomData::<fn() -> V>;
                Box::new(Decoded { value, alias, stored: found, terms, tags, form }) as _
            })
        });
        Ok(value)
    }
}

/// Compares bytes, which usually are the same memory.
fn is_same(a: &Bytes, b: &Bytes) -> bool {
    (a.as_ptr() == b.as_ptr() && a.len() == b.len()) || a == b
}
