//! The parts of a fetch that keyspaces use, too.

use std::{fmt, time::Duration};

use super::{
    Fetch,
    as_form::As,
    request::{self, Start, hit},
};
use crate::{
    cache::{Cache, ToWrite, enter},
    error::Result,
    fetch::{Fetched, LoadContext, Loaded},
    key::FullKey,
    layer::Operation,
    value::{Codec, Decode, Encode, Form},
};

impl<'a, V: Form> Fetch<'a, V> {
    /// Returns the same fetch of another key.
    pub(crate) fn at<'b>(self, key: &'b str) -> Fetch<'b, V>
    where
        'a: 'b,
    {
        Fetch { key, ..self }
    }

    pub(crate) fn cache(&self) -> &'a Cache<V> {
        self.cache
    }

    /// Returns a handle that stores values with the tags of this fetch.
    pub(crate) fn tagged_cache(&self) -> Cache<V> {
        Cache { tags: self.tags.clone(), ..self.cache.clone() }
    }

    /// Sets the label of the keyspace, and the codec of loaded values, if it is not that of the
    /// alias.
    pub(crate) fn of_keyspace(mut self, label: &'static str, codec: Option<Codec>) -> Self {
        self.policy.keyspace = Some(label);
        self.policy.codec = codec;
        self
    }

    /// Returns what [`write_stored`](Cache::write_stored) stores for a value.
    pub(crate) fn to_write<T: ?Sized>(&self, value: &T) -> Result<ToWrite>
    where
        V: Encode<T>,
    {
        self.check()?;
        let Self { cache, policy, .. } = self;
        let key = cache.key(Operation::Set, self.key)?;
        let sealed = cache.sealed(Operation::Set, &key, value, policy.codec)?;
        let stored = cache.to_stored(policy, None, sealed, Duration::ZERO);
        Ok(ToWrite { key, stored, revision: policy.revision })
    }

    /// Returns the value and how it was found. With `takes_absent`, the answer may be that there is
    /// no value.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` moves `self` once more")]
    pub(crate) fn fetched<A, T, E, L, F>(
        mut self,
        takes_absent: bool,
        load: L,
    ) -> impl Future<Output = Result<Fetched<A::Value>>> + use<'a, A, V, T, E, L, F>
    where
        A: As<V, T>,
        V: Encode<T> + Decode<T>,
        T: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        async move {
            let mut key = FullKey::new();
            self.cache.write_key(Operation::Fetch, self.key, &mut key)?;
            let entered = enter!(self.cache, &mut key);
            let (write_epoch, found) = match self.start::<A, T>(&key, entered, true) {
                Start::Hit(value, age) => return Ok(hit(value, age)),
                Start::Read(write_epoch, found) => (write_epoch, found),
            };
            self.run::<A, T, E, L, F>(key, write_epoch, found, takes_absent, load).await
        }
    }
}

impl<V: Form> Cache<V> {
    /// Returns the value of a fetch that needs one.
    pub(crate) fn required<T>(&self, fetched: Fetched<T>) -> Result<T> {
        let none = || self.refuse(Operation::Fetch, request::no_value());
        fetched.value.ok_or_else(none)
    }
}
