use std::{
    any::type_name,
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
        Overrides,
        singleflight::{Joined, Lead, WaitOutcome},
    },
    key::FullKey,
    layer::Operation,
    runtime::{self, first},
    store::SetMode,
    telemetry::{
        observer::{Direction, Loaded, Size},
        stats::{Event, Outcome},
    },
    timeout::Expiry,
    value::{Decode, Encode, Form, payload_len},
};

/// The load behind `get_or_set`.
impl<V: Form> Cache<V> {
    /// Returns the value of a key, or loads and stores it by the policy of the alias with these
    /// overrides.
    pub(crate) async fn load_through<T, E, F>(
        &self,
        key: &str,
        overrides: &Overrides,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let key = self.key(Operation::GetOrSet, key)?;
        // Before the first read: another process that makes this call may have stored an
        // entry with this lifetime.
        self.note_policy(&self.load_policy(overrides));
        let is_bypassed = bypass::is_on();
        let (is_written, role) = if is_bypassed {
            (false, Ok(Role::Load(self.shared.flights.alone(&key))))
        } else {
            let write_epoch = self.shared.flights.write_epoch(&key);
            let is_written = match self.look(&key).await? {
                Look::Hit(value) => return Ok(value),
                Look::Miss => true,
                Look::Failed => false,
            };
            (is_written, self.take_turn(&key, write_epoch).await)
        };
        let res = match role {
            Ok(Role::Have(value)) => return Ok(value),
            Ok(Role::Load(lead)) => {
                // Pinned and borrowed: each call below that owned it would double the future's
                // size.
                let loader = pin!(load());
                self.load(lead, &key, overrides, is_written, loader).await
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
        if let Some(stored) = self.read_stale(key).await
            && let Ok(value) = self.open(&stored)
        {
            self.count(Operation::GetOrSet, Outcome::Stale);
            return Ok(value);
        }
        Err(error)
    }

    /// Runs the loader, stores its value and completes the load for all waiting callers.
    async fn load<T, E, F>(
        &self,
        lead: Lead,
        key: &FullKey,
        overrides: &Overrides,
        is_written: bool,
        loader: Pin<&mut F>,
    ) -> Result<T>
    where
        V: Encode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let began = self.shared.clock.now();
        let loader = self.shared.observer.in_load_span(Operation::GetOrSet, key, loader);
        let loaded = lead.load(loader).await;
        let took = self.shared.clock.now().saturating_sub(began);
        self.shared.counters.event(Event::Load);
        self.shared.counters.load_took(took);
        let result = if loaded.is_ok() { Loaded::Ok } else { Loaded::Error };
        self.shared.observer.load(result, took);
        let encoded = match &loaded {
            Ok(value) => self.seal(value, overrides.codec),
            Err(_) => Ok(Bytes::new()),
        };
        let (value, bytes) = match (loaded, encoded) {
            (Ok(value), Ok(bytes)) => (value, bytes),
            (Ok(_), Err(error)) => return self.complete_failed(lead, key, error),
            (Err(error), _) => return self.complete_failed(lead, key, Error::from_loader(error)),
        };
        // Computed after the load, so that a slow load does not postpone a fixed expiry time.
        let to_stored = || self.to_stored(&self.load_policy(overrides), None, bytes.clone(), took);
        let stored = is_written.then(to_stored).flatten();
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
        self.shared.observer.bytes(Direction::Written, Size::of(&bytes));
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
        self.shared.observer.bytes(Direction::Read, Size::of(&stored));
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
