use std::{fmt, marker::PhantomData};

use super::{KeyParts, Keyspace};
use crate::{
    cache::{As, ByValue, Cache, Fetch},
    error::{Error, Result},
    fetch::{FetchOutcome, Fetched, LoadContext, Loaded},
    telemetry::stats::Outcome,
    value::{Decode, Encode, Form, Typed},
};

/// A fetch of one value of a keyspace, from [`Keyspace::fetch`]: it has the lifetime, the grace and
/// the codec of the keyspace.
#[must_use = "a fetch does nothing before `load`"]
pub struct KeyspaceFetch<'a, V, F: Form = Typed> {
    /// Without its key, which it would have to borrow.
    fetch: Fetch<'a, F>,
    key: Result<String>,
    revision: Option<fn(&V) -> u64>,
    label: &'static str,
    value: PhantomData<fn() -> V>,
}

impl<K: ?Sized, V> Keyspace<K, V> {
    /// Begins a fetch of a key: [`load`](KeyspaceFetch::load) returns the stored value, or runs a
    /// loader as a task and stores its value. See [`Cache::fetch`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, FetchSettings, Keyspace, secs}; use cache_memory::Memory;
    /// # use std::{convert::Infallible, time::Duration};
    /// const HOUR: Duration = Duration::from_secs(3600);
    /// static USERS: Keyspace<u64, String> = Keyspace::new("user").ttl(secs(60)).grace(HOUR);
    ///
    /// // `grace = 0` in the settings allows a grace, without a default.
    /// let settings = FetchSettings::with_grace(Duration::ZERO);
    /// let cache = Cache::builder(Memory::new()).fetch(settings).build("test")?;
    /// let user = USERS.fetch(&cache, &42).load(|_| async { Ok::<_, Infallible>("Ada".into()) });
    /// assert_eq!(user.await?, "Ada");
    /// # Ok(()) }
    /// ```
    pub fn fetch<'a, M, F>(&self, cache: &'a Cache<F>, key: &K) -> KeyspaceFetch<'a, V, F>
    where
        K: KeyParts<M>,
        F: Form,
    {
        let mut fetch =
            cache.fetch("").of_keyspace(self.label_or_name(), self.codec).ttl(self.timeout);
        if let Some(grace) = self.grace {
            fetch = fetch.grace(grace);
        }
        KeyspaceFetch {
            fetch,
            key: self.key_for(cache, key),
            revision: self.revision,
            label: self.label_or_name(),
            value: PhantomData,
        }
    }
}

impl<'a, V, F: Form> KeyspaceFetch<'a, V, F> {
    /// Changes further rules of the fetch: its timeouts, [`force`](Fetch::force),
    /// [`refresh_ahead`](Fetch::refresh_ahead) and all others of [`Fetch`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Keyspace}; use cache_memory::Memory; use std::convert::Infallible;
    /// # let cache = Cache::new("test", Memory::new());
    /// static USERS: Keyspace<u64, String> = Keyspace::new("user");
    ///
    /// USERS.set(&cache, &42, &"Ada".into()).await?;
    /// let load = |_| async { Ok::<_, Infallible>("Bob".to_owned()) };
    /// assert_eq!(USERS.fetch(&cache, &42).with(|it| it.force()).load(load).await?, "Bob");
    /// # Ok(()) }
    /// ```
    pub fn with(mut self, change: impl FnOnce(Fetch<'a, F>) -> Fetch<'a, F>) -> Self {
        self.fetch = change(self.fetch);
        self
    }

    /// Returns the stored value, or the one that `load` returns: see [`Fetch::load`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn load<E, L, R>(self, load: L) -> Result<V>
    where
        F: Encode<V> + Decode<V>,
        V: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<V, E>> + Send + 'static,
    {
        let cache = self.cache();
        let load = |context| async move { load(context).await.map(Loaded::Value) };
        let fetched = self.fetched::<ByValue, _, _, _>(false, load).await?;
        cache.required(fetched)
    }

    /// Returns the value as [`load`](Self::load) does, or `None` if the source has none: see
    /// [`Fetch::load_optional`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn load_optional<E, L, R>(self, load: L) -> Result<Option<V>>
    where
        F: Encode<V> + Decode<V>,
        V: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        let load = |context| async move { load(context).await.map(Loaded::from) };
        self.fetched::<ByValue, _, _, _>(true, load).await.map(|it| it.value)
    }

    /// Returns the value as [`load`](Self::load) does, and how it was found: see
    /// [`Fetch::outcome`].
    ///
    /// # Errors
    /// As [`Fetch::load`].
    ///
    /// # Cancel safety
    /// As [`Fetch::load`].
    pub async fn outcome<E, L, R>(self, load: L) -> Result<Fetched<V>>
    where
        F: Encode<V> + Decode<V>,
        V: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        self.fetched::<ByValue, _, _, _>(true, load).await
    }

    /// Stores a value that comes from elsewhere, with the lifetime and the grace of the keyspace:
    /// see [`Fetch::prime`].
    ///
    /// # Errors
    /// As [`Fetch::prime`].
    ///
    /// # Cancel safety
    /// As [`Fetch::prime`].
    pub fn prime(self, value: &V) -> impl Future<Output = Result<()>> + Send + use<'a, V, F>
    where
        F: Encode<V>,
    {
        let cache = self.fetch.tagged_cache();
        let fetch = match self.revision {
            Some(of) => self.fetch.revision(of(value)),
            None => self.fetch,
        };
        let write = self.key.and_then(|key| fetch.at(&key).to_write(value));
        async move { cache.write_stored(write?).await }
    }

    pub(super) fn cache(&self) -> &'a Cache<F> {
        self.fetch.cache()
    }

    /// Returns the value and how it was found, and counts the read.
    pub(super) async fn fetched<A, E, L, R>(
        &self,
        takes_absent: bool,
        load: L,
    ) -> Result<Fetched<A::Value>>
    where
        A: As<F, V>,
        F: Encode<V> + Decode<V>,
        V: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<F>) -> R + Send + 'static,
        R: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        let key = self.key.as_ref().map_err(Error::clone)?;
        let revision = self.revision;
        let load = move |context: LoadContext<F>| {
            let orders = context.clone();
            let load = load(context);
            async move {
                let loaded = load.await;
                if let (Some(of), Ok(Loaded::Value(value))) = (revision, &loaded) {
                    orders.default_revision(of(value));
                }
                loaded
            }
        };
        let fetch = self.fetch.clone().at(key);
        let fetched = fetch.fetched::<A, V, _, _, _>(takes_absent, load).await;
        let outcome = match fetched.as_ref().map(|it| &it.outcome) {
            Ok(FetchOutcome::Hit { .. }) => Outcome::Hit,
            Ok(FetchOutcome::Stale { .. }) => Outcome::Stale,
            Ok(FetchOutcome::Absent) => Outcome::Absent,
            Ok(FetchOutcome::Loaded { .. } | FetchOutcome::MissByError { .. }) | Err(_) => {
                Outcome::Miss
            }
        };
        self.fetch.cache().count_keyspace(self.label, outcome, 1);
        fetched
    }
}

impl<V, F: Form> fmt::Debug for KeyspaceFetch<'_, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyspaceFetch")
            .field("key", &self.key)
            .field("fetch", &self.fetch)
            .finish_non_exhaustive()
    }
}
