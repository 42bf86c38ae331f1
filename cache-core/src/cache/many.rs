use std::{collections::HashMap, hash::Hash, iter};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, call};
use crate::{
    Error, ErrorKind, Result, Timeout,
    flight::{Writing, first},
    key::FullKey,
    layers::Operation,
    observe::Direction,
};

/// A key of a [`set_many`](Cache::set_many) that was not written, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The caller's key.
    pub key: String,
    /// Why.
    pub error: Error,
}

/// Many keys at once: one round trip per server. A batch with no keys does nothing; one with an invalid key reaches
/// no store.
impl Cache {
    /// The values of those keys that are there, each under the caller's own key.
    ///
    /// If the store, or one server of several, fails, the hits there are; in [strict](Self::strict) mode the error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Inline}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Inline::new(Memory::new()));
    /// cache.set("a", &1, None).await?;
    /// cache.set("b", &2, None).await?;
    /// let found = cache.get_many::<i32, _>(["a", "b", "c"]).await?;
    /// assert_eq!(found, [("a", 1), ("b", 2)].into());
    /// # Ok(()) }
    /// ```
    pub async fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<HashMap<K, T>>
    where
        T: DeserializeOwned,
        K: AsRef<str> + Eq + Hash,
    {
        let mut batch = Batch::default();
        let mut names = Vec::new();
        for name in keys {
            let key = self.key(Operation::GetMany, name.as_ref())?;
            names.push((batch.place(key), name));
        }
        let answers = self.read_many(&batch.keys).await;
        let mut found = HashMap::with_capacity(names.len());
        for (place, name) in names {
            let answer = answers[place].clone();
            let value = self.decoded(Operation::GetMany, &batch.keys[place], answer).await?;
            found.extend(value.map(|it| (name, it)));
        }
        Ok(found)
    }

    /// Stores all, each with the same lifetime; which keys were *not* written, and why. A lifetime of zero removes them.
    ///
    /// All values are serialised and all keys checked before anything is written. Of a key that is there twice, the
    /// last value counts.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Inline, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Inline::new(Memory::new()));
    /// let failed = cache.set_many([("a", 1), ("b", 2)], secs(60)).await?;
    /// assert!(failed.is_empty());
    /// assert_eq!(cache.get::<i32>("b").await?, Some(2));
    /// # Ok(()) }
    /// ```
    pub fn set_many<K, V, I, L>(
        &self,
        items: I,
        timeout: L,
    ) -> impl Future<Output = Result<Vec<Failed>>> + Send + use<'_, K, V, I, L>
    where
        K: AsRef<str>,
        V: Serialize,
        I: IntoIterator<Item = (K, V)>,
        L: Into<Timeout>,
    {
        let expiry = self.expiry(timeout);
        let prepared = self.prepare_many(items);
        async move {
            let items = prepared?;
            let keys = || items.iter().map(|it| it.key.as_str());
            let _writing = self.before_writes(keys()).await;
            let moment = self.shared.marks.now();
            let answers: Vec<Result<()>> = if items.is_empty() {
                Vec::new()
            } else if let Some(expiry) = expiry {
                let items: Vec<(&str, Bytes)> =
                    items.iter().map(|it| (it.key.as_str(), it.value.clone())).collect();
                call!(self.set_many(&items, expiry))
            } else {
                let keys: Vec<&str> = keys().collect();
                let answers: Vec<Result<bool>> = call!(self.delete_many(&keys));
                answers.into_iter().map(|it| it.map(drop)).collect()
            };
            let mut failed = Vec::new();
            for (item, answer) in items.iter().zip(one_each(answers)) {
                self.written(&item.key, moment, &answer);
                if let Err(error) = self.answer(Operation::SetMany, Some(&item.key), answer) {
                    failed.push(Failed { key: item.name.clone(), error });
                }
            }
            Ok(failed)
        }
    }

    /// Removes all; how many there were. What the store failed to remove is not counted, and reads of it are misses until a
    /// delete of it has got through; in [strict](Self::strict) mode it is an error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Inline}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Inline::new(Memory::new()));
    /// cache.set("a", &1, None).await?;
    /// assert_eq!(cache.delete_many(["a", "b"]).await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn delete_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64> {
        let mut batch = Batch::default();
        for name in keys {
            batch.place(self.key(Operation::DeleteMany, name.as_ref())?);
        }
        let keys = batch.as_strs();
        if keys.is_empty() {
            return Ok(0);
        }
        let _writing = self.before_writes(keys.iter().copied()).await;
        let moment = self.shared.marks.now();
        let answers: Vec<Result<bool>> = call!(self.delete_many(&keys));
        let mut removed = 0;
        let mut failed = None;
        for (key, answer) in keys.iter().zip(one_each(answers)) {
            self.written(key, moment, &answer.clone().map(drop));
            match self.answer_or(Operation::DeleteMany, key, answer, false) {
                Ok(was_there) => removed += u64::from(was_there),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// The stored bytes of each key, unless it is marked.
    async fn read_many(&self, keys: &[FullKey]) -> Vec<Result<Option<Bytes>>> {
        let mut marked = HashMap::new();
        if self.shared.marks.len() > 0 {
            marked = Box::pin(self.settle_many_for_read(keys)).await;
        }
        let wanted = keys.iter().enumerate().filter(|(place, _)| !marked.contains_key(place));
        let wanted: Vec<&str> = wanted.map(|(_, key)| key.as_str()).collect();
        let answers: Vec<Result<Option<Bytes>>> =
            if wanted.is_empty() { Vec::new() } else { call!(self.get_many(&wanted)) };
        let mut answers = one_each(answers);
        let answer = |place| marked.remove(&place).map(Err).or_else(|| answers.next());
        (0..keys.len()).filter_map(answer).collect()
    }

    /// [`before_write`](Self::before_write) of all keys.
    async fn before_writes<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a str> + Clone,
    ) -> Vec<Writing<'a>> {
        let flights = &self.shared.flights;
        let writing = keys.clone().map(|key| flights.writing(key)).collect();
        if flights.active() > 0 {
            let all = Box::pin(async {
                for key in keys {
                    flights.detach(key, std::future::pending()).await;
                }
            });
            // One patience for all: they are on their way at the same time.
            first(all, self.write_patience()).await;
        }
        writing
    }

    fn prepare_many<K, V>(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<Vec<Item>>
    where
        K: AsRef<str>,
        V: Serialize,
    {
        let mut batch = Batch::default();
        let mut res: Vec<Item> = Vec::new();
        for (name, value) in items {
            let name = name.as_ref();
            let key = self.key(Operation::SetMany, name)?;
            let value = self.shared.codec.encode(&value);
            let value = value.map_err(|it| self.fail(Operation::SetMany, Some(&key), it))?;
            self.shared.observer.bytes(Direction::Written, value.len());
            let item = Item { name: name.to_owned(), key, value };
            match res.get_mut(batch.place(key)) {
                Some(earlier) => *earlier = item,
                None => res.push(item),
            }
        }
        Ok(res)
    }
}

/// What is to be written under one stored key.
struct Item {
    /// The caller's key.
    name: String,
    key: FullKey,
    value: Bytes,
}

/// The different stored keys of a batch, in order: a key function may make one of several.
#[derive(Default)]
struct Batch {
    keys: Vec<FullKey>,
    places: HashMap<FullKey, usize>,
}

impl Batch {
    /// The place of a key among the different ones.
    fn place(&mut self, key: FullKey) -> usize {
        *self.places.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() - 1
        })
    }

    fn as_strs(&self) -> Vec<&str> {
        self.keys.iter().map(FullKey::as_str).collect()
    }
}

/// An answer for each key, also of a store that gave too few: a write that it says nothing of is not taken for done.
pub(super) fn one_each<T>(answers: Vec<Result<T>>) -> impl Iterator<Item = Result<T>> {
    let too_few = || {
        Err(Error::new(ErrorKind::Backend, "the store answered for fewer keys than it was asked"))
    };
    answers.into_iter().chain(iter::repeat_with(too_few))
}
