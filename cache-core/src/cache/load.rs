use std::{
    any::type_name,
    convert::Infallible,
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{Cache, call};
use crate::{
    bypass,
    error::{Error, ErrorKind, Result},
    fetch::{
        Policy,
        singleflight::{Joined, Lead, WaitOutcome},
    },
    key::FullKey,
    layer::Operation,
    runtime::{self, first},
    store::SetMode,
    telemetry::{
        observer::{Direction, Loaded},
        stats::{Event, Outcome},
    },
    timeout::{Expiry, IntoTimeout, Timeout},
    value::{Decode, Encode, Form, payload_len},
};

/// Reads through: a missing value is loaded and stored.
///
/// One load runs per key at a time, for any number of callers. The other callers wait and share its
/// value or its error. A load also ends in these cases:
///
/// - The caller that runs the load is dropped, or its loader panics: the next waiting caller runs
///   its own loader.
/// - The load does not end within `load_deadline` (30 s by default): one of the waiting callers
///   runs its own loader, and the others wait for this caller. A caller waits for at most two
///   `load_deadline`s in all, and then gets an error of kind `TimedOut`.
/// - The key is written, deleted or cleared during the load: callers that wait for the load get its
///   value, but the value is not stored. Later callers start another load. So a load that read old
///   data never overwrites newer data.
/// - A loader waits for its own load, directly or through others: it gets an error of kind `Loader`
///   that names the keys. The library detects this in the loader itself, also through nested loads.
///   It does not detect this in a task that the loader spawns or on another thread, because it
///   cannot know the load of such a task. There the inner call waits for `load_deadline` and then
///   runs its own loader.
///
/// The loader runs in the future of its caller, and only while this future is polled.
impl<V: Form> Cache<V> {
    /// Returns the value of `key`. If the key is missing, runs `load`, stores its value for
    /// `timeout` and returns the value.
    ///
    /// If the store fails and the cache fails open, the value is loaded and not stored. A failed
    /// write of a loaded value is counted and never returned. With a lifetime of zero the value is
    /// not stored.
    ///
    /// # Errors
    /// Store errors if the cache does not fail open; `load` does not run then. `Codec` if the
    /// loaded value cannot be serialized (a NaN, nesting that is too deep), also with `fail_open`,
    /// because callers could not share the value. `TimedOut` after a wait of two `load_deadline`s.
    /// `Loader` if loads wait for each other in a cycle, or if the shared load of another caller
    /// failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, its loader ends, and the next caller that waits for the key runs
    /// its own loader. The value is stored as a whole or not at all.
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
        V: Encode<T> + Decode<T>,
        F: Future<Output = T>,
    {
        self.get_or_try_set(key, timeout, || async { Ok::<T, Infallible>(load().await) }).await
    }

    /// Returns the value of `key`, as [`get_or_set`](Self::get_or_set) does, with a loader that can
    /// fail.
    ///
    /// The loader's error reaches every caller that waited for the load, and nothing is stored.
    /// [`Error::loader`] borrows the loader's own error, and [`Error::into_loader`] moves it out.
    /// [`get_or_load`](Self::get_or_load) returns the loader's type of error instead. With a `?`
    /// within the loader, the type of its error must be written out: `Ok::<_, ParseIntError>(…)`.
    ///
    /// # Errors
    /// `Loader` if the loader failed. All others as [`get_or_set`](Self::get_or_set).
    ///
    /// # Cancel safety
    /// If the future is dropped, its loader ends, and the next caller that waits for the key runs
    /// its own loader. The value is stored as a whole or not at all.
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
        V: Encode<T> + Decode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let timeout = timeout.into_timeout();
        let key = self.key(Operation::GetOrSet, key)?;
        // Before the first read: another process that makes this call may have stored an
        // entry with this lifetime.
        let _ = self.expiry(timeout);
        let is_bypassed = bypass::is_on();
        let (write, role) = if is_bypassed {
            (None, Ok(Role::Load(self.shared.flights.alone(&key))))
        } else {
            let write_epoch = self.shared.flights.write_epoch(&key);
            let write = match self.look(&key).await? {
                Look::Hit(value) => return Ok(value),
                Look::Miss => Some(timeout),
                Look::Failed => None,
            };
            (write, self.take_turn(&key, write_epoch).await)
        };
        let res = match role {
            Ok(Role::Have(value)) => return Ok(value),
            Ok(Role::Load(lead)) => {
                // Pinned and borrowed: each call below that owned it would double the future's
                // size.
                let loader = pin!(load());
                self.load(lead, &key, write, loader).await
            }
            Err(error) => Err(error),
        };
        match res {
            Err(error) if self.shared.fetch.has_entries && !is_bypassed => {
                Box::pin(self.stale_instead(&key, error)).await
            }
            res => res,
        }
    }

    /// Returns the stale value of a key whose load failed, or else the error.
    async fn stale_instead<T>(&self, key: &FullKey, error: Error) -> Result<T>
    where
        V: Decode<T>,
    {
        match self.read_stale(key).await {
            Some(stored) => match self.open(&stored) {
                Ok(value) => {
                    self.count(Operation::GetOrSet, Outcome::Stale);
                    Ok(value)
                }
                Err(_) => Err(error),
            },
            None => Err(error),
        }
    }

    /// Runs the loader, stores its value and completes the load for all waiting callers.
    async fn load<T, E, F>(
        &self,
        lead: Lead,
        key: &FullKey,
        write: Option<Timeout>,
        loader: Pin<&mut F>,
    ) -> Result<T>
    where
        V: Encode<T>,
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
            Ok(value) => self.seal(value),
            Err(_) => Ok(Bytes::new()),
        };
        let (value, bytes) = match (loaded, encoded) {
            (Ok(value), Ok(bytes)) => (value, bytes),
            (Ok(_), Err(error)) => return self.complete_failed(lead, key, error),
            (Err(error), _) => return self.complete_failed(lead, key, Error::from_loader(error)),
        };
        // Computed after the load, so that a slow load does not postpone a fixed expiry time.
        let policy = self.shared.fetch.borrowed();
        let stored = write.and_then(|it| {
            let policy = Policy { ttl: it, ..*policy };
            self.to_stored(&policy, None, bytes.clone(), took)
        });
        if let Some((stored, expiry)) = stored {
            self.store_loaded(&lead, key, stored, expiry).await;
        }
        lead.complete(Ok(bytes));
        Ok(value)
    }

    /// Stores a loaded value, unless the key was written meanwhile. A failure is counted.
    pub(super) async fn store_loaded(
        &self,
        lead: &Lead,
        key: &FullKey,
        stored: Bytes,
        expiry: Expiry,
    ) {
        let store = || self.write_loaded(key, stored.clone(), expiry);
        let dropped = |id| self.wait_out_write(key, id);
        let lasts = self.write_claim(1);
        if let Some(Err(error)) = lead.store(store, lasts, self.write_patience(), dropped).await {
            self.load_not_stored(key, &stored, &error);
        }
    }

    /// Counts a loaded value that the store did not take.
    pub(super) fn load_not_stored(&self, key: &str, stored: &Bytes, error: &Error) {
        self.shared.counters.event(Event::LoadWriteFailed);
        if error.kind() == ErrorKind::TooLarge {
            let limit = self.shared.backend.capabilities().max_value_len;
            self.shared.observer.load_too_large(key, payload_len(stored), limit);
        }
    }

    /// Keeps a write whose future was dropped in progress for as long as a write may take.
    pub(super) fn wait_out_write(&self, key: &str, id: u64) {
        let shared = Arc::clone(&self.shared);
        let key: Box<str> = key.into();
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

    pub(super) fn load_shared(&self) {
        self.shared.counters.event(Event::LoadShared);
        self.shared.observer.load(Loaded::Shared, Duration::ZERO);
    }

    fn complete_failed<T>(&self, lead: Lead, key: &str, error: Error) -> Result<T> {
        self.shared.counters.event(Event::LoadFailed);
        let error = self.fail(Operation::GetOrSet, Some(key), error);
        lead.complete(Err(error.clone()));
        Err(error)
    }

    /// Makes this caller the leader of the load, or waits for the leader.
    async fn take_turn<T>(&self, key: &FullKey, write_epoch: u64) -> Result<Role<T>>
    where
        V: Decode<T>,
    {
        let flights = &self.shared.flights;
        let lasts = self.shared.load_deadline;
        // The end of all waits of this caller.
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
                // After the deadline of the leader, another caller or this one becomes the leader.
                Some(WaitOutcome::Rejoin) | None => {}
                Some(WaitOutcome::Completed(result)) => {
                    self.load_shared();
                    if let Ok(value) = self.open(&result?) {
                        return Ok(Role::Have(value));
                    }
                    // The leader loaded another type, so this caller loads for itself.
                    return Ok(Role::Load(flights.alone(key)));
                }
            }
        }
    }

    /// Makes this caller the leader, unless another load was completed since its read.
    async fn lead<T>(&self, lead: Lead, key: &FullKey, write_epoch: u64) -> Result<Role<T>>
    where
        V: Decode<T>,
    {
        if self.shared.flights.write_epoch(key) != write_epoch
            && let Ok(Some(stored)) = self.read_leader(key).await
            && let Ok(value) = self.open(&stored)
        {
            lead.complete(Ok(stored));
            self.load_shared();
            return Ok(Role::Have(value));
        }
        Ok(Role::Load(lead))
    }

    /// Reads the key first. The leader answers, because a replica that lags behind would not have
    /// the values of earlier loads. Bytes that are not a `T` are a miss in strict mode too, because
    /// the load overwrites them.
    async fn look<T>(&self, key: &FullKey) -> Result<Look<T>>
    where
        V: Decode<T>,
    {
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
        match self.open(&stored) {
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
pub(super) fn hung(lasts: Duration) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!(
            "no load of this key completed within two load deadlines of {lasts:?} each: the loader hangs, its \
             future is not polled, or it waits for its own key in another task"
        ),
    )
    .ignored_by_breaker()
}

enum Look<T> {
    Hit(T),
    Miss,
    /// The store failed. The loaded value is not stored, because this write would only delay the
    /// caller.
    Failed,
}

enum Role<T> {
    Load(Lead),
    Have(T),
}
