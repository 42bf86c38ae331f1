use std::{
    any::type_name,
    convert::Infallible,
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, call};
use crate::{
    error::{Error, ErrorKind, Result},
    fetch::singleflight::{Joined, Lead, WaitOutcome},
    key::FullKey,
    layer::Operation,
    runtime::{self, first},
    store::SetMode,
    telemetry::{
        observer::{Direction, Loaded},
        stats::{Event, Outcome},
    },
    timeout::{Expiry, IntoTimeout, Timeout},
    value::{self, payload_len},
};

/// Reading through: what is not there is loaded and kept.
///
/// One load per key at a time, however many callers: the others wait and share its value, or its error. What ends
/// a load otherwise:
///
/// - The caller who runs it is dropped, or its loader panics: the next one who waits runs its own.
/// - It has not ended within `load_deadline` (30 s if unset): one of those who wait runs its own, and the others wait for that one. A
///   caller waits at most two `load_deadline`s in all, and then gets an error of kind `TimedOut`.
/// - The key is written, deleted or cleared meanwhile: those who are in it get its value, but it is not stored; later callers
///   start another. So a load that read the old data never overwrites what came after.
/// - A loader that would wait for its own load, directly or through others, gets an error of kind `Loader` that names the keys. This is
///   found out where the loader itself asks, also through nested loads. It is not found out in a task that the loader spawns, nor on
///   another thread, because nothing tells whose loader such a task works for: there the inner call waits for `load_deadline`,
///   and then runs its own loader.
///
/// The loader is run by its caller, and only while its caller is polled.
impl Cache {
    /// The value of `key`; if it is not there, the one that `load` gives, which is kept for `timeout`.
    ///
    /// If the store fails, the value is loaded and not stored; in [strict](Self::strict) mode the error is returned, and nothing is
    /// loaded. That the store did not take the loaded value is counted, and never an error. With a lifetime of zero it is not stored.
    ///
    /// A loaded value that the codec refuses (a NaN, nesting that is too deep) is an error of kind `Codec`, also with `fail_open`: no
    /// caller could share the value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let load = || async { "the slow part".to_owned() };
    /// assert_eq!(cache.get_or_set("report", secs(60), load).await?, "the slow part");
    /// assert_eq!(cache.get_or_set("report", secs(60), || async { String::new() }).await?, "the slow part");
    /// # Ok(()) }
    /// ```
    pub async fn get_or_set<T, F>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = T>,
    {
        self.get_or_try_set(key, timeout, || async { Ok::<T, Infallible>(load().await) }).await
    }

    /// [`get_or_set`](Self::get_or_set) with a loader that can fail. Its error stores nothing and reaches everyone who waited for
    /// it: kind `Loader`; [`Error::loader`] lends the loader's own error, and [`Error::into_loader`] moves it out.
    /// [`get_or_load`](Self::get_or_load) returns the loader's type of error instead. With a `?` within the loader, its type must be said:
    /// `Ok::<_, ParseIntError>(…)`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, ErrorKind, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let error = cache
    ///     .get_or_try_set::<u32, _, _>("answer", secs(60), || async { "42!".parse() })
    ///     .await
    ///     .unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Loader);
    /// assert!(error.loader::<std::num::ParseIntError>().is_some());
    ///
    /// let answer: u32 = cache.get_or_try_set("answer", secs(60), || async { "42".parse() }).await?;
    /// assert_eq!(answer, 42);
    /// # Ok(()) }
    /// ```
    pub async fn get_or_try_set<T, E, F>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let timeout = timeout.into_timeout();
        let key = self.key(Operation::GetOrSet, key)?;
        // Before the first look: another process that makes the same call may have given an entry this lifetime.
        let _ = self.expiry(timeout);
        let write_epoch = self.shared.flights.write_epoch(&key);
        let write = match self.look(&key).await? {
            Look::Hit(value) => return Ok(value),
            Look::Miss => Some(timeout),
            Look::Failed => None,
        };
        let lead = match self.take_turn(&key, write_epoch).await? {
            Role::Load(lead) => lead,
            Role::Have(value) => return Ok(value),
        };
        // Pinned here and lent from here on: each frame that held it by value would double the future's size.
        let loader = pin!(load());
        self.load(lead, &key, write, loader).await
    }

    /// [`get_or_try_set`](Self::get_or_try_set) whose error is of the loader's own type, so that `?` needs no detour.
    ///
    /// The caller whose loader failed gets the loader's error itself, unless others waited for the same load: they share its failure, and each of
    /// them gets `E::from` of an [`Error`] of kind `Loader`, in which [`Error::loader`] lends the loader's error. Errors of the cache
    /// become an `E` in the same way.
    ///
    /// The compiler takes the type of the loader's error from what the whole call returns, so a `?` within the loader needs no annotation where the call
    /// is the last expression of a function:
    ///
    /// ```
    /// # use cache_core::{Cache, Error, secs}; use cache_memory::Memory;
    /// #[derive(Debug, PartialEq)]
    /// enum ServiceError {
    ///     NotFound,
    ///     Cache(String),
    /// }
    /// impl From<Error> for ServiceError {
    ///     fn from(error: Error) -> Self {
    ///         match error.loader() {
    ///             Some(Self::NotFound) => Self::NotFound,
    ///             _ => Self::Cache(error.to_string()),
    ///         }
    ///     }
    /// }
    /// # impl std::fmt::Display for ServiceError {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("no user") }
    /// # }
    /// # impl From<std::num::ParseIntError> for ServiceError {
    /// #     fn from(_: std::num::ParseIntError) -> Self { Self::NotFound }
    /// # }
    ///
    /// async fn user(cache: &Cache, id: &str) -> Result<u32, ServiceError> {
    ///     cache.get_or_load("user", secs(60), async || Ok(id.parse()?)).await
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let cache = Cache::new("test", Memory::new());
    /// assert_eq!(user(&cache, "x").await, Err(ServiceError::NotFound));
    /// assert_eq!(user(&cache, "7").await, Ok(7));
    /// # }
    /// ```
    pub async fn get_or_load<T, E, F>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error> + fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let res = self.get_or_try_set(key, timeout, load).await;
        res.map_err(|error| error.into_loader().unwrap_or_else(E::from))
    }

    /// Runs the loader, stores its value and hands it to all who wait.
    async fn load<T, E, F>(
        &self,
        lead: Lead,
        key: &FullKey,
        write: Option<Timeout>,
        loader: Pin<&mut F>,
    ) -> Result<T>
    where
        T: Serialize,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let began = self.shared.clock.now();
        let loader = self.shared.observer.in_load_span(key, loader);
        let loaded = lead.load(loader).await;
        let took = self.shared.clock.now().saturating_sub(began);
        self.shared.counters.event(Event::Load);
        self.shared.counters.load_took(took);
        let result = if loaded.is_ok() { Loaded::Ok } else { Loaded::Error };
        self.shared.observer.load(result, took);
        let encoded = match &loaded {
            Ok(value) => value::seal(value, self.shared.codec),
            Err(_) => Ok(Bytes::new()),
        };
        let (value, bytes) = match (loaded, encoded) {
            (Ok(value), Ok(bytes)) => (value, bytes),
            (Ok(_), Err(error)) => return self.complete_failed(lead, key, error),
            (Err(error), _) => return self.complete_failed(lead, key, Error::from_loader(error)),
        };
        // Of the time after the load: a point in time is not pushed back by a slow one.
        if let Some(expiry) = write.and_then(|it| self.expiry(it)) {
            let store = || self.write_loaded(key, bytes.clone(), expiry);
            let dropped = |id| self.wait_out_write(key, id);
            let lasts = self.write_claim(1);
            if let Some(Err(error)) = lead.store(store, lasts, self.write_patience(), dropped).await
            {
                self.shared.counters.event(Event::LoadWriteFailed);
                if error.kind() == ErrorKind::TooLarge {
                    let limit = self.shared.backend.capabilities().max_value_len;
                    self.shared.observer.load_too_large(key, payload_len(&bytes), limit);
                }
            }
        }
        lead.complete(Ok(bytes));
        Ok(value)
    }

    /// The write of a loaded value was dropped on its way: it counts as on its way for as long as a write may take.
    fn wait_out_write(&self, key: &FullKey, id: u64) {
        let shared = Arc::clone(&self.shared);
        let key = *key;
        match runtime::own() {
            Ok(own) => drop(own.spawn(async move {
                shared.clock.sleep(shared.write_patience).await;
                shared.flights.write_arrived(&key, id);
            })),
            Err(_) => shared.flights.write_arrived(&key, id),
        }
    }

    async fn write_loaded(&self, key: &FullKey, bytes: Bytes, expiry: Expiry) -> Result<bool> {
        self.shared.observer.bytes(Direction::Written, bytes.len());
        let moment = self.shared.tombstones.moment();
        let res: Result<bool> = call!(self.set(key, bytes, expiry, SetMode::Always));
        if res.is_ok() {
            self.shared.tombstones.remove(key, moment);
        }
        self.answer(Operation::Set, Some(key), res)
    }

    fn load_shared(&self) {
        self.shared.counters.event(Event::LoadShared);
        self.shared.observer.load(Loaded::Shared, Duration::ZERO);
    }

    fn complete_failed<T>(&self, lead: Lead, key: &str, error: Error) -> Result<T> {
        self.shared.counters.event(Event::LoadFailed);
        let error = self.fail(Operation::GetOrSet, Some(key), error);
        lead.complete(Err(error.clone()));
        Err(error)
    }

    /// Becomes the one who loads, or waits for the one who does.
    async fn take_turn<T: DeserializeOwned>(
        &self,
        key: &FullKey,
        write_epoch: u64,
    ) -> Result<Role<T>> {
        let flights = &self.shared.flights;
        let lasts = self.shared.load_deadline;
        // How long this caller waits for others, in all.
        let mut end = None;
        loop {
            let turn = flights.join(key, lasts);
            let mut wait = match turn.map_err(|it| self.fail(Operation::GetOrSet, Some(key), it))? {
                Joined::Lead(lead) => return self.lead(lead, key, write_epoch).await,
                Joined::Wait(wait) => wait,
            };
            let now = flights.now();
            let end = *end.get_or_insert_with(|| now.saturating_add(lasts.saturating_mul(2)));
            let time = wait.until().min(end).saturating_sub(now);
            let patience = Box::pin(self.shared.clock.sleep(time));
            match first(wait.outcome(), patience).await {
                None if flights.now() >= end => {
                    return Err(self.fail(Operation::GetOrSet, Some(key), hung(lasts)));
                }
                Some(WaitOutcome::Lead(lead)) => return Ok(Role::Load(lead)),
                // After the leader's time there is another one, or this caller is it.
                Some(WaitOutcome::Rejoin) | None => {}
                Some(WaitOutcome::Completed(result)) => {
                    self.load_shared();
                    if let Ok(value) = value::open(&result?) {
                        return Ok(Role::Have(value));
                    }
                    // The leader loaded another type than this caller wants: it loads for itself.
                    return Ok(Role::Load(flights.alone(key)));
                }
            }
        }
    }

    /// The load is this caller's, unless another one has landed between its read and now.
    async fn lead<T: DeserializeOwned>(
        &self,
        lead: Lead,
        key: &FullKey,
        write_epoch: u64,
    ) -> Result<Role<T>> {
        if self.shared.flights.write_epoch(key) != write_epoch
            && let Ok(Some(stored)) = self.read_leader(key).await
            && let Ok(value) = value::open(&stored)
        {
            lead.complete(Ok(stored));
            self.load_shared();
            return Ok(Role::Have(value));
        }
        Ok(Role::Load(lead))
    }

    /// The first read, of what earlier flights have stored, too: a copy that lags would have each load again. Bytes that are no `T` are a miss in strict mode, too: the load overwrites them.
    async fn look<T: DeserializeOwned>(&self, key: &FullKey) -> Result<Look<T>> {
        let stored = match self.read_leader(key).await {
            Ok(Some(stored)) => stored,
            Err(error) if error.kind().is_unreadable() => {
                let wanted = type_name::<T>();
                self.count(Operation::GetOrSet, Outcome::Miss);
                self.count_undecodable(Operation::GetOrSet, key, wanted, &error.message());
                return Ok(Look::Miss);
            }
            res => {
                let missing = if res.is_err() { Look::Failed } else { Look::Miss };
                return self.found_or_miss(Operation::GetOrSet, key, res).map(|_| missing);
            }
        };
        self.shared.observer.bytes(Direction::Read, stored.len());
        match value::open(&stored) {
            Ok(value) => {
                self.count(Operation::GetOrSet, Outcome::Hit);
                Ok(Look::Hit(value))
            }
            Err(why) => {
                self.count(Operation::GetOrSet, Outcome::Miss);
                self.note_undecodable::<T>(Operation::GetOrSet, key, &stored, why).await;
                Ok(Look::Miss)
            }
        }
    }
}

#[cold]
fn hung(lasts: Duration) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!(
            "no load of this key has ended within twice the load_deadline of {lasts:?}: the loader hangs, its future is \
             not polled, or it waits for its own key in another task"
        ),
    )
    .ignored_by_breaker()
}

enum Look<T> {
    Hit(T),
    Miss,
    /// The store failed, and is not written to: the value would only be late.
    Failed,
}

enum Role<T> {
    Load(Lead),
    Have(T),
}
