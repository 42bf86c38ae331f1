//! Fetches of shared values.

use std::{fmt, sync::Arc};

use super::{
    Fetch,
    as_form::{As, ByArc},
    request::Start,
};
use crate::{
    cache::enter,
    error::Result,
    fetch::{Fetched, LoadContext, Loaded},
    key::FullKey,
    layer::Operation,
    value::{Decode, Encode, Form, Typed},
};

/// A fetch of one shared value, from [`Fetch::arc`].
///
/// Its calls do what those of [`Fetch`] with the same name do. Callers share the decoded value that
/// is kept beside the stored bytes: see [`Cache::get_arc`](crate::Cache::get_arc).
#[must_use = "a fetch does nothing before `load`"]
#[derive(Debug)]
pub struct ArcFetch<'a, V: Form = Typed>(Fetch<'a, V>);

impl<'a, V: Form> Fetch<'a, V> {
    /// Returns the same fetch of a shared value: a hit decodes nothing if the value is near or in
    /// the process, see [`Cache::get_arc`](crate::Cache::get_arc).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let cache = Cache::new("test", Memory::new());
    /// let load = |_| async { Ok::<_, Infallible>(vec!["admin".to_owned()]) };
    /// let roles = cache.fetch("roles").ttl(secs(60)).arc().load(load).await?;
    /// assert_eq!(*roles, ["admin"]);
    /// let again = cache.fetch("roles").ttl(secs(60)).arc().load(load).await?;
    /// assert!(Arc::ptr_eq(&roles, &again));
    /// # Ok(()) }
    /// ```
    pub fn arc(self) -> ArcFetch<'a, V> {
        ArcFetch(self)
    }

    /// Returns the value of the key in this form.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` moves `self` once more")]
    pub(super) fn load_as<A, T, E, L, F>(
        mut self,
        load: L,
    ) -> impl Future<Output = Result<A::Value>> + use<'a, A, V, T, E, L, F>
    where
        A: As<V, T>,
        V: Encode<T> + Decode<T>,
        T: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            let mut key = FullKey::new();
            self.cache.write_key(Operation::Fetch, self.key, &mut key)?;
            let entered = enter!(self.cache, &mut key);
            let (write_epoch, found) = match self.start::<A, T>(&key, entered, false) {
                Start::Hit(value, _) => return Ok(value),
                Start::Read(write_epoch, found) => (write_epoch, found),
            };
            let load = |context| async move { load(context).await.map(Loaded::Value) };
            let cache = self.cache;
            let fetched = self.run::<A, T, E, _, _>(key, write_epoch, found, false, load).await?;
            cache.required(fetched)
        }
    }
}

impl<'a, V: Form> ArcFetch<'a, V> {
    /// Returns the value of the key, shared: see [`Fetch::load`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub fn load<T, E, L, F>(
        self,
        load: L,
    ) -> impl Future<Output = Result<Arc<T>>> + use<'a, V, T, E, L, F>
    where
        V: Encode<T> + Decode<T>,
        T: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.0.load_as::<ByArc, T, E, L, F>(load)
    }

    /// Returns the value of the key, shared, or `None` if the source has none: see
    /// [`Fetch::load_optional`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn load_optional<T, E, L, F>(self, load: L) -> Result<Option<Arc<T>>>
    where
        V: Encode<T> + Decode<T>,
        T: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<Option<T>, E>> + Send + 'static,
    {
        let load = |context| async move { load(context).await.map(Loaded::from) };
        self.0.fetched::<ByArc, T, _, _, _>(true, load).await.map(|it| it.value)
    }

    /// Returns the value of the key, shared, and how it was found: see [`Fetch::outcome`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub fn outcome<T, E, L, F>(
        self,
        load: L,
    ) -> impl Future<Output = Result<Fetched<Arc<T>>>> + use<'a, V, T, E, L, F>
    where
        V: Encode<T> + Decode<T>,
        T: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        self.0.fetched::<ByArc, T, E, L, F>(true, load)
    }
}
