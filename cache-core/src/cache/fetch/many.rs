//! Reads through for many keys: one read, one load, one write.

use std::{collections::HashMap, convert::Infallible, fmt, hash::Hash};

use super::batch::Batch;
use crate::{
    bypass,
    cache::{Cache, batch::Distinct},
    error::Result,
    fetch::Overrides,
    layer::Operation,
    timeout::IntoTimeout,
    value::{Decode, Encode, Form},
};

impl<V: Form> Cache<V> {
    /// Returns the values of keys. Those that are missing are loaded with one call of `load` and
    /// stored with one write. Keys for which `load` returns no value are left out.
    ///
    /// `load` gets the missing keys that no other caller is loading, in the order of `keys`; this
    /// call waits for the others. If a caller that loads is dropped or exceeds its load deadline,
    /// `load` is called again, with its keys. Loads are shared with
    /// [`get_or_set`](Self::get_or_set) and [`fetch`](Self::fetch) of the same keys, and a write or
    /// delete during the load wins, as there.
    ///
    /// # Errors
    /// As [`get_or_set`](Self::get_or_set). If the cache does not fail open, the error of the first
    /// key whose read failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, its loader ends, and the next caller that waits for one of the
    /// keys runs its own loader. Some of the values may be stored, each as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("square:2", &4, secs(60)).await?;
    /// let squares = cache
    ///     .get_or_set_many(["square:2", "square:3", "other"], secs(60), |missing| async move {
    ///         assert_eq!(missing, ["square:3", "other"]);
    ///         [("square:3", 9)] // from one query
    ///     })
    ///     .await?;
    /// assert_eq!(squares, [("square:2", 4), ("square:3", 9)].into());
    /// assert_eq!(cache.get::<u32>("square:3").await?, Some(9));
    /// # Ok(()) }
    /// ```
    pub async fn get_or_set_many<T, K, R, F>(
        &self,
        keys: impl IntoIterator<Item = K>,
        timeout: impl IntoTimeout,
        mut load: impl FnMut(Vec<K>) -> F,
    ) -> Result<HashMap<K, T>>
    where
        V: Encode<T> + Decode<T>,
        K: AsRef<str> + Eq + Hash + Clone,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = R>,
    {
        let load = |missing| {
            let load = load(missing);
            async { Ok::<R, Infallible>(load.await) }
        };
        self.get_or_try_set_many(keys, timeout, load).await
    }

    /// Returns the values of keys, as [`get_or_set_many`](Self::get_or_set_many) does, with a
    /// loader that can fail.
    ///
    /// # Errors
    /// `Loader` if the loader failed, for this caller or for one that it waited for, unless all
    /// missing keys have a value in its grace. All others as
    /// [`get_or_set_many`](Self::get_or_set_many).
    ///
    /// # Cancel safety
    /// As [`get_or_set_many`](Self::get_or_set_many).
    pub async fn get_or_try_set_many<T, K, E, R, F>(
        &self,
        keys: impl IntoIterator<Item = K>,
        timeout: impl IntoTimeout,
        mut load: impl FnMut(Vec<K>) -> F,
    ) -> Result<HashMap<K, T>>
    where
        V: Encode<T> + Decode<T>,
        K: AsRef<str> + Eq + Hash + Clone,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        let names: Vec<K> = keys.into_iter().collect();
        let ttl = timeout.into_timeout();
        let overrides = Overrides { ttl, grace: None, codec: None, keyspace: None, force: false };
        self.load_many_through(&names, &names, &overrides, None, &mut load).await
    }

    /// Returns the values of keys, or loads and stores them by the policy of the alias with these
    /// overrides. `names` are the keys in the caller's form, in the same order. `revision` returns
    /// the revision of a loaded value.
    pub(crate) async fn load_many_through<T, K, E, R, F>(
        &self,
        names: &[K],
        keys: &[impl AsRef<str>],
        overrides: &Overrides,
        revision: Option<fn(&T) -> u64>,
        load: &mut impl FnMut(Vec<K>) -> F,
    ) -> Result<HashMap<K, T>>
    where
        V: Encode<T> + Decode<T>,
        K: Eq + Hash + Clone,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        let mut stored = self.keys(Operation::GetOrSet, keys)?;
        let entered = self.enter_all(&mut stored).await;
        let Distinct { keys, places } = stored.distinct();
        self.check_tags(Operation::GetOrSet)?;
        self.note_policy(&self.load_policy(overrides));
        let batch = || Batch::new(self, names, &keys, &places, overrides, revision);
        if bypass::is_on() {
            let mut batch = batch();
            batch.load_alone(load).await?;
            return Ok(batch.found);
        }
        let epochs: Vec<_> = keys.iter().map(|it| self.shared.flights.write_epoch(it)).collect();
        let answers = match entered {
            Ok(()) => self.read_many(&keys, true).await,
            Err(error) => vec![Err(error); keys.len()],
        };
        let mut batch = batch();
        let missing = batch.judge(answers).await?;
        let wanted = if self.shared.fetch.has_entries { missing.clone() } else { Vec::new() };
        match batch.load_missing(missing, &epochs, load).await {
            Err(error) if !wanted.is_empty() => {
                Box::pin(batch.stale_instead(&wanted, error)).await?;
            }
            res => res?,
        }
        Ok(batch.found)
    }
}
