use std::{
    any::type_name,
    fmt, iter,
    pin::{Pin, pin},
    time::Duration,
};

use super::{
    Cache, enter,
    fetch::{Fence, Fenced},
    tags::Declared,
};
use crate::{
    bypass,
    error::{Error, ErrorKind, Result},
    fetch::{
        Overrides, Policy,
        singleflight::{Joined, Lead, WaitOutcome},
    },
    key::FullKey,
    layer::Operation,
    runtime::first,
    telemetry::{
        observer::{Direction, Loaded, Size},
        stats::{Event, Outcome},
    },
    value::{Decode, Encode, Form, envelope::Found},
};

/// The load behind `get_or_set`.
impl<V: Form> Cache<V> {
    /// Returns the value of a key, or loads and stores it by the policy of the alias with these
    /// overrides. `revision` returns the revision of a loaded value.
    pub(crate) async fn load_through<T, E, F>(
        &self,
        key: &str,
        overrides: &Overrides,
        revision: Option<fn(&T) -> u64>,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        V: Encode<T> + Decode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let mut key = self.key(Operation::GetOrSet, key)?;
        self.check_tags(Operation::GetOrSet)?;
        let entered = enter!(self, &mut key);
        // Before the first read: another process that makes this call may have stored an
        // entry with this lifetime.
        if self.shared.has_other_writers {
            self.note_policy(&self.load_policy(overrides));
        }
        let is_bypassed = bypass::is_on();
        let role = if is_bypassed {
            Ok(Role::Load(self.shared.flights.alone(&key), None))
        } else if overrides.force {
            Box::pin(self.force_turn(&key, entered)).await
        } else {
            let write_epoch = self.shared.flights.write_epoch(&key);
            let look = match entered {
                Ok(()) => self.look(&key).await?,
                Err(error) => {
                    let res = self.found_or_miss(Operation::GetOrSet, &key, Err(error));
                    res.map(|_: Option<()>| Look::Failed)?
                }
            };
            let is_written = match look {
                Look::Hit(value) => return Ok(value),
                Look::Miss => true,
                Look::Failed => false,
            };
            self.take_turn(&key, write_epoch, Turn { is_written, is_forced: false }).await
        };
        let res = match role {
            Ok(Role::Have(value)) => return Ok(value),
            Ok(Role::Load(lead, write)) => {
                // Pinned and borrowed: each call below that owned it would double the future's
                // size.
                let loader = pin!(load());
                self.load(lead, &key, overrides, revision, write, loader).await
            }
            Err(error) => Err(error),
        };
        match res {
            Err(error)
                if self.shared.fetch.has_entries
                    && !is_bypassed
                    && !overrides.force
                    && !hides_stale(&error) =>
            {
                Box::pin(self.stale_instead(&key, error)).await
            }
            res => res,
        }
    }

    /// Runs the loader, stores its value and completes the load for all waiting callers.
    async fn load<T, E, F>(
        &self,
        lead: Lead,
        key: &FullKey,
        overrides: &Overrides,
        revision: Option<fn(&T) -> u64>,
        write: Option<Storing>,
        loader: Pin<&mut F>,
    ) -> Result<T>
    where
        V: Encode<T>,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        // After the fence and before the loader.
        let declared = match &self.tags {
            None => Declared::Tags(None),
            // Boxed because it is rare: it would enlarge the future of every load.
            tags => {
                let leads = iter::once(&lead);
                Box::pin(self.declare(tags.as_deref(), leads, write.is_some())).await
            }
        };
        let began = self.shared.clock.now();
        let (operation, keyspace) = (Operation::GetOrSet, overrides.keyspace);
        let loader = self.shared.observer.in_load_span(operation, key, keyspace, loader);
        let loaded = lead.load(loader).await;
        let took = self.shared.clock.now().saturating_sub(began);
        self.shared.counters.event(Event::Load);
        self.shared.counters.load_took(took);
        let result = if loaded.is_ok() { Loaded::Ok } else { Loaded::Error };
        self.shared.observer.load(result, took);
        let is_written = write.is_some() && declared.stores();
        let mut fence = write.and_then(|it| it.fence);
        let res = match loaded {
            Ok(value) => self.seal(&value, overrides.codec).map(|bytes| (value, bytes)),
            Err(error) => Err(Error::from_loader(error)),
        };
        let (value, bytes) = match res {
            Ok(sealed) => sealed,
            Err(error) => {
                Fence::release(fence).await;
                return self.complete_failed(lead, key, error);
            }
        };
        // Computed after the load, so that a slow load does not postpone a fixed expiry time.
        let to_stored = || {
            let revision = revision.map(|of| of(&value));
            let policy = Policy { revision, ..self.load_policy(overrides) };
            self.to_stored(&policy, None, bytes.clone(), took)
        };
        let stored = is_written.then(to_stored).flatten();
        if let Some((stored, expiry)) = stored {
            let stored = declared.tag(stored);
            // Boxed because it would enlarge the future of every call, hits included.
            let store = self.store_loaded(&lead, key, fence.as_deref_mut(), stored, expiry);
            Box::pin(store).await;
        }
        Fence::release(fence).await;
        lead.complete(Ok(bytes));
        Ok(value)
    }

    fn complete_failed<T>(&self, lead: Lead, key: &str, error: Error) -> Result<T> {
        self.shared.counters.event(Event::LoadFailed);
        let error = self.fail(Operation::GetOrSet, Some(key), error);
        lead.complete(Err(error.clone()));
        Err(error)
    }

    /// Begins a load although there may be a value. A load that began earlier does not store its
    /// value.
    async fn force_turn<T>(&self, key: &FullKey, entered: Result<()>) -> Result<Role<T>>
    where
        V: Decode<T>,
    {
        let is_written = match entered {
            Ok(()) => true,
            Err(error) => {
                let res = self.found_or_miss(Operation::GetOrSet, key, Err(error));
                res.map(|_: Option<()>| false)?
            }
        };
        self.shared.flights.detach(key, self.write_patience()).await;
        self.count(Operation::GetOrSet, Outcome::Miss);
        let write_epoch = self.shared.flights.write_epoch(key);
        self.take_turn(key, write_epoch, Turn { is_written, is_forced: true }).await
    }

    /// Makes this caller the leader of the load, or waits for the leader.
    async fn take_turn<T>(&self, key: &FullKey, write_epoch: u64, turn: Turn) -> Result<Role<T>>
    where
        V: Decode<T>,
    {
        let flights = &self.shared.flights;
        let lasts = self.shared.fetch.borrowed().longest_load();
        // The end of all waits of this caller.
        let mut end = None;
        loop {
            let joined = flights.join(key, lasts);
            let mut wait =
                match joined.map_err(|it| self.fail(Operation::GetOrSet, Some(key), it))? {
                    Joined::Lead(lead) => {
                        return Ok(self.lead(lead, key, write_epoch, turn).await);
                    }
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
                Some(WaitOutcome::Lead(lead)) => {
                    return Ok(self.put_up_fence(lead, key, turn).await);
                }
                // After the deadline of the leader, another caller or this one becomes the leader.
                Some(WaitOutcome::Rejoin) | None => {}
                Some(WaitOutcome::Completed(result)) => {
                    self.load_shared();
                    if let Ok(value) = self.open(&result?) {
                        return Ok(Role::Have(value));
                    }
                    // The leader loaded another type, so this caller loads for itself.
                    return Ok(Role::Load(flights.alone(key), None));
                }
            }
        }
    }

    /// Makes this caller the leader, unless another load was completed since its read.
    async fn lead<T>(&self, lead: Lead, key: &FullKey, write_epoch: u64, turn: Turn) -> Role<T>
    where
        V: Decode<T>,
    {
        if self.shared.flights.write_epoch(key) != write_epoch
            && let Ok(Some(stored)) = self.read_leader(key).await
            && let Ok(value) = self.open(&stored)
        {
            lead.complete(Ok(stored));
            self.load_shared();
            return Role::Have(value);
        }
        self.put_up_fence(lead, key, turn).await
    }

    /// Puts up the fence of the load that this caller leads, if loads are fenced. Returns the value
    /// instead if another process stores one meanwhile.
    async fn put_up_fence<T>(&self, lead: Lead, key: &FullKey, turn: Turn) -> Role<T>
    where
        V: Decode<T>,
    {
        let policy = self.shared.fetch.borrowed();
        if !turn.is_written {
            return Role::Load(lead, None);
        }
        // A fence would end at the value that a forced load replaces.
        if !policy.fenced || turn.is_forced {
            return Role::Load(lead, Some(Storing { fence: None }));
        }
        let accept = |found| match found {
            Found::Fresh(stored, _) => {
                V::open(&stored, &self.shared.values).is_ok().then_some(stored)
            }
            _ => None,
        };
        let wait = self.lease_wait(policy);
        match Box::pin(self.fence(&lead, key, policy, wait, false, &accept)).await {
            Fenced::By(fence) => Role::Load(lead, Some(Storing { fence: Some(fence) })),
            Fenced::Found(stored) => match self.open(&stored) {
                Ok(value) => {
                    lead.complete(Ok(stored));
                    self.load_shared();
                    Role::Have(value)
                }
                Err(_) => Role::Load(lead, None),
            },
            Fenced::Foreign | Fenced::Failed => Role::Load(lead, None),
        }
    }

    /// Reads the key first. The leader answers, because a replica that lags behind would not have
    /// the values of earlier loads. Bytes that are not a `T` are a miss in strict mode too, because
    /// the load overwrites them.
    async fn look<T>(&self, key: &FullKey) -> Result<Look<T>>
    where
        V: Decode<T>,
    {
        let stored = match self.read_first(key).await {
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

#[cfg(feature = "macros")]
use crate::cached_fn::hides_stale;

/// Returns whether a stale value must not be served in place of a failed load.
#[cfg(not(feature = "macros"))]
fn hides_stale(_: &Error) -> bool {
    false
}

#[cold]
pub(super) fn hung(lasts: Duration) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!(
            "no load of this key completed within two loads of at most {lasts:?} each: the loader hangs, its \
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
    /// This caller loads, and stores the value if it can.
    Load(Lead, Option<Storing>),
    Have(T),
}

/// How a caller takes part in the loads of a key.
#[derive(Clone, Copy)]
struct Turn {
    /// Whether the loaded value is stored.
    is_written: bool,
    /// Whether the load replaces a value.
    is_forced: bool,
}

/// How a loaded value is stored.
struct Storing {
    fence: Option<Box<Fence>>,
}
