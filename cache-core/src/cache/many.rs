mod prepared;
mod read;

use std::{collections::HashMap, hash::Hash};

use bytes::Bytes;

pub(crate) use self::prepared::WriteMany;
use super::{
    Cache, Failed, Failures,
    batch::{Distinct, Strings, one_each},
    put_aside,
};
use crate::{
    error::Result,
    fetch::singleflight::WriteGuard,
    layer::Operation,
    telemetry::{
        observer::{Direction, Size},
        stats::Outcome,
    },
    timeout::IntoTimeout,
    value::{Decode, Encode, Form, envelope},
};

/// Calls the store with a batch under these write guards, which end together.
macro_rules! call_many {
    ($cache:ident, $writing:ident, $len:expr, $method:ident($($arg:expr),*)) => {
        match (&$cache.shared.sync, $writing.first()) {
            (Some(store), _) => store.$method($($arg),*),
            (None, None) => Vec::new(),
            (None, Some(first)) => match first.run($cache.store().$method($($arg),*)).await {
                Some(answers) => answers,
                None => (0..$len).map(|_| Err(put_aside())).collect(),
            },
        }
    };
}

/// Reads and writes batches: one round trip per server. An empty batch does nothing. If a key of a
/// batch is invalid, the batch does not reach the store.
impl<V: Form> Cache<V> {
    /// Returns the values of the keys that exist, each under the key that the caller gave.
    ///
    /// If the store, or one of several servers, fails, the result contains the hits of the other
    /// servers.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open. In [strict](Self::strict) mode, `Codec` and
    /// `WrongType` as [`get`](Self::get).
    ///
    /// # Cancel safety
    /// A dropped future leaves the entries as they were.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("a", &1, Timeout::Default).await?;
    /// cache.set("b", &2, Timeout::Default).await?;
    /// let found = cache.get_many::<i32, _>(["a", "b", "c"]).await?;
    /// assert_eq!(found, [("a", 1), ("b", 2)].into());
    /// # Ok(()) }
    /// ```
    pub async fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<HashMap<K, T>>
    where
        V: Decode<T>,
        K: AsRef<str> + Eq + Hash,
    {
        let names: Vec<K> = keys.into_iter().collect();
        let mut stored = self.keys(Operation::GetMany, &names)?;
        let entered = self.enter_all(&mut stored).await;
        let Distinct { keys, places } = stored.distinct();
        let answers = match entered {
            Ok(()) => self.read_many(&keys, false).await,
            Err(error) => vec![Err(error); keys.len()],
        };
        let mut found = HashMap::with_capacity(names.len());
        for (place, name) in places.into_iter().zip(names) {
            let (key, answer) = (keys[place], &answers[place]);
            // As in `get`: a hit needs no further future and no change of a reference count.
            if let Ok(Some(stored)) = answer
                && let Ok(value) = self.open(stored)
            {
                self.shared.observer.bytes(Direction::Read, Size::of(stored));
                self.count(Operation::GetMany, Outcome::Hit);
                found.insert(name, value);
                continue;
            }
            let value = self.decoded(Operation::GetMany, key, answer.clone()).await?;
            found.extend(value.map(|it| (name, it)));
        }
        Ok(found)
    }

    /// Stores all items with the same lifetime. Returns the keys that were *not* written, each with
    /// the reason. A lifetime of zero removes the keys.
    ///
    /// All values are serialized and all keys are checked before the first write. If a key occurs
    /// twice, its last value counts.
    ///
    /// # Errors
    /// `InvalidKey` or `Codec` for the first item that is invalid. The store is not called then.
    /// Errors of the store, also store errors, are listed in [`Failures`].
    ///
    /// # Cancel safety
    /// If the future is dropped, some items may be written. Each value is stored as a whole or not
    /// at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let failed = cache.set_many([("a", 1), ("b", 2)], secs(60)).await?;
    /// assert!(failed.is_empty());
    /// assert_eq!(cache.get::<i32>("b").await?, Some(2));
    /// # Ok(()) }
    /// ```
    pub fn set_many<K, T, I, L>(
        &self,
        items: I,
        timeout: L,
    ) -> impl Future<Output = Result<Failures>> + Send + use<'_, V, K, T, I, L>
    where
        K: AsRef<str>,
        V: Encode<T>,
        I: IntoIterator<Item = (K, T)>,
        L: IntoTimeout,
    {
        let write = self.to_write_many(items, timeout, None, None::<&fn(&T) -> u64>);
        async move { self.write_many(write?).await }
    }

    /// Removes all keys. Returns how many of them existed.
    ///
    /// Reads of keys that the store failed to remove are misses until their old entries have been
    /// removed: these deletes are sent again in the background. If the cache fails open, these keys
    /// are not counted.
    ///
    /// # Errors
    /// The first store error if the cache does not fail open. The other keys may be removed.
    ///
    /// # Cancel safety
    /// If the future is dropped, some keys may be removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("a", &1, Timeout::Default).await?;
    /// assert_eq!(cache.delete_many(["a", "b"]).await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn delete_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64> {
        let mut stored = Strings::default();
        for name in keys {
            self.push_key(Operation::DeleteMany, name.as_ref(), &mut stored)?;
        }
        let entered = self.enter_write_all(&mut stored).await;
        let Distinct { keys, .. } = stored.distinct();
        if keys.is_empty() {
            return Ok(0);
        }
        if let Err(error) = entered {
            for key in keys {
                Box::pin(self.not_entered(key, &error)).await;
                self.answer_or(Operation::DeleteMany, key, Err(error.clone()), ())?;
            }
            return Ok(0);
        }
        let writing = self.before_writes(keys.iter().copied(), 0).await;
        let marked = Box::pin(self.marked(&keys)).await;
        let moment = self.shared.tombstones.moment();
        let answers: Vec<Result<bool>> = call_many!(self, writing, keys.len(), delete_many(&keys));
        let mut removed = 0;
        let mut failed = None;
        for (key, answer) in keys.iter().zip(one_each(answers)) {
            self.removed(key, moment, &answer);
            match self.answer_or(Operation::DeleteMany, key, answer, false) {
                Ok(was_there) => removed += u64::from(was_there && !marked.contains(key)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// Stores what [`to_write_many`](Self::to_write_many) returned.
    pub(crate) async fn write_many(&self, mut write: WriteMany) -> Result<Failures> {
        let entered = self.enter_write_all(&mut write.keys).await;
        let mut failed = None;
        if entered.is_ok() && write.expiry.is_some() && !write.values.is_empty() {
            match self.own_tags().await {
                Ok(None) => {}
                Ok(Some(tags)) => {
                    for value in &mut write.values {
                        *value = envelope::with_tags(value, &tags);
                    }
                }
                Err(error) if error.kind().fails_open() => failed = Some(error),
                Err(error) => return Err(self.refuse(Operation::SetMany, error)),
            }
        }
        if write.revisions.is_some() && entered.is_ok() && failed.is_none() {
            return Ok(Box::pin(self.write_revisions(write)).await);
        }
        let WriteMany { names, keys, values, expiry, .. } = write;
        let Distinct { keys, places } = keys.distinct();
        // If a key occurs twice, its last value counts.
        let mut items: Vec<(&str, Bytes)> = keys.iter().map(|key| (*key, Bytes::new())).collect();
        let mut callers = vec![""; keys.len()];
        for ((place, value), name) in places.into_iter().zip(values).zip(names.iter()) {
            (items[place].1, callers[place]) = (value, name);
        }
        let bytes = items.iter().map(|(_, value)| value.len()).sum();
        let writing = self.before_writes(keys.iter().copied(), bytes).await;
        let moment = self.shared.tombstones.moment();
        let is_entered = entered.is_ok();
        let answers: Vec<Result<()>> = if let Err(error) = entered {
            for key in &keys {
                Box::pin(self.not_entered(key, &error)).await;
            }
            vec![Err(error); keys.len()]
        } else if items.is_empty() {
            Vec::new()
        } else if let Some(error) = failed {
            vec![Err(error); items.len()]
        } else if let Some(expiry) = expiry {
            call_many!(self, writing, keys.len(), set_many(&items, expiry))
        } else {
            let answers: Vec<Result<bool>> =
                call_many!(self, writing, keys.len(), delete_many(&keys));
            answers.into_iter().map(|it| it.map(drop)).collect()
        };
        let mut failed = Vec::new();
        for ((key, name), answer) in keys.iter().zip(callers).zip(one_each(answers)) {
            if is_entered {
                self.written(key, moment, &answer);
            }
            if let Err(error) = self.answer(Operation::SetMany, Some(key), answer) {
                failed.push(Failed { key: name.to_owned(), error });
            }
        }
        Ok(Failures(failed))
    }

    /// Begins the writes of all keys, as [`before_write`](Self::before_write) does for one key.
    async fn before_writes<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a str> + Clone,
        bytes: usize,
    ) -> Vec<WriteGuard<'a>> {
        let flights = &self.shared.flights;
        let lasts = self.batch_claim(keys.clone().count(), bytes);
        for key in keys.clone() {
            self.shared.tombstones.begin_write(key, lasts);
        }
        let mut writing = flights.begin_writes(keys.clone(), lasts);
        if flights.active() > 0 {
            for it in &mut writing {
                it.expire_after(lasts);
            }
            // One wait for all, because the writes are in progress at the same time.
            Box::pin(flights.detach_many(keys, self.write_patience())).await;
        }
        writing
    }
}
