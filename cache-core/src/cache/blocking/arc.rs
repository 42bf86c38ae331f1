use std::{fmt, sync::Arc};

use super::BlockingCache;
use crate::{
    cache::{Fetch, on_a_thread},
    error::Result,
    fetch::LoadContext,
    value::{Decode, Encode, Form},
};

/// Shared values.
impl<V: Form> BlockingCache<V> {
    /// Returns the shared value of a key: see [`Cache::get_arc`](crate::Cache::get_arc).
    ///
    /// # Errors
    /// As [`Cache::get_arc`](crate::Cache::get_arc), and `Runtime`.
    pub fn get_arc<T>(&self, key: &str) -> Result<Option<Arc<T>>>
    where
        V: Decode<T>,
        T: Send + Sync + 'static,
    {
        self.run(self.as_async().get_arc(key))
    }

    /// Returns the value of a key, shared, or loads it as [`fetch`](Self::fetch) does: see
    /// [`Fetch::arc`].
    ///
    /// # Errors
    /// As [`Fetch::load`], and `Runtime`.
    ///
    /// ```
    /// use cache_core::{Cache, secs};
    /// use cache_memory::Memory;
    ///
    /// let cache = Cache::new("test", Memory::new()).blocking();
    /// let parse = |_| "42".parse::<u32>();
    /// assert_eq!(*cache.fetch_arc("answer", |fetch| fetch.ttl(secs(60)), parse)?, 42);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn fetch_arc<T, E>(
        &self,
        key: &str,
        configure: impl for<'a> FnOnce(Fetch<'a, V>) -> Fetch<'a, V>,
        load: impl FnOnce(LoadContext<V>) -> Result<T, E> + Send + 'static,
    ) -> Result<Arc<T>>
    where
        V: Encode<T> + Decode<T>,
        T: Send + Sync + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let load = |context| on_a_thread(|| load(context));
        self.run(configure(self.as_async().fetch(key)).arc().load(load))
    }
}
