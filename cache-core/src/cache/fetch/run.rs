//! The read of a fetch, which decides whether to load.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Fetch,
    as_form::As,
    entries::Missed,
    request::{FetchedBytes, FoundEntry, LoadedBytes, Loader, Mode, Request, Start, hit, no_value},
};
use crate::{
    bypass,
    cache::Cache,
    error::{Error, ErrorKind, Result},
    fetch::{FetchOutcome, Fetched, LoadContext, Loaded, RefreshAhead, Staleness},
    key::FullKey,
    layer::Operation,
    telemetry::{
        observer::{Direction, Size},
        stats::Outcome,
    },
    timeout::Ttl,
    value::{Codec, Decode, Encode, Form, Pipeline, envelope::Found},
};

impl<V: Form> Fetch<'_, V> {
    pub(super) fn check(&self) -> Result<()> {
        if let Some(tags) = &self.tags {
            tags.check().map_err(|error| self.cache.refuse(Operation::Fetch, error))?;
        }
        if !self.is_custom {
            return Ok(());
        }
        let fetch = &self.cache.shared.fetch;
        self.policy.check(fetch.allowed(), fetch.policy()).map_err(|(setting, what)| {
            let error = Error::new(ErrorKind::Config, format!("`{setting}` of a fetch: {what}"));
            self.cache.refuse(Operation::Fetch, error)
        })
    }

    /// Reads the key if the store never waits: a hit needs no further future, as in `get`.
    #[inline]
    pub(super) fn start<A, T>(
        &mut self,
        key: &FullKey,
        entered: Result<()>,
        wants_age: bool,
    ) -> Start<A::Value>
    where
        A: As<V, T>,
    {
        let cache = self.cache;
        if bypass::is_on() {
            self.mode = Mode::Bypass;
        }
        // Before the first read: another process that makes this fetch may have stored an entry
        // with this lifetime.
        if self.is_custom && cache.shared.has_other_writers {
            cache.note_policy(&self.policy);
        }
        let write_epoch = cache.shared.flights.write_epoch(key);
        if let Err(error) = entered {
            return Start::Read(write_epoch, Some(Err(error)));
        }
        if self.mode != Mode::Usual {
            return Start::Read(write_epoch, None);
        }
        if self.policy.refresh_ahead == RefreshAhead::Off
            && let Some((value, age)) = A::at_once(cache, key, wants_age)
        {
            return Start::Hit(value, age);
        }
        let found = cache.find_at_once(key, &self.policy);
        if let Some(Ok(Some((Found::Fresh(stored, terms), left)))) = &found
            && self.policy.refresh_ahead == RefreshAhead::Off
            && let Ok(value) = A::open(cache, key, stored)
        {
            cache.shared.observer.bytes(Direction::Read, Size::of(stored));
            cache.count(Operation::Fetch, Outcome::Hit);
            return Start::Hit(value, terms.age(*left));
        }
        Start::Read(write_epoch, found)
    }

    pub(super) async fn run<A, T, E, L, F>(
        self,
        key: FullKey,
        write_epoch: u64,
        found: Option<FoundEntry>,
        takes_absent: bool,
        load: L,
    ) -> Result<Fetched<A::Value>>
    where
        A: As<V, T>,
        V: Encode<T> + Decode<T>,
        T: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        let cache = self.cache;
        let open = |stored: &Bytes| A::open(cache, &key, stored);
        let opened = |request: &Request, found| opened::<A, V, T>(cache, request, found);
        let request = |old: Option<Bytes>, age| Request {
            key,
            name: self.key.into(),
            policy: self.policy,
            tags: self.tags.clone(),
            mode: self.mode,
            write_epoch,
            old,
            age,
            store_failed: false,
            takes_absent,
            is_type: is_a::<V, T>,
        };
        let found = match found {
            None if self.mode == Mode::Usual => cache.find_for_fetch(&key, &self.policy).await,
            found => found.unwrap_or(Ok(None)),
        };
        let request = match self.mode {
            Mode::Usual => match found {
                Ok(Some((Found::Fresh(stored, terms), left))) => match open(&stored) {
                    Ok(value) => {
                        cache.shared.observer.bytes(Direction::Read, Size::of(&stored));
                        cache.count(Operation::Fetch, Outcome::Hit);
                        if self.policy.refresh_ahead != RefreshAhead::Off
                            && cache.is_due(&self.policy, &terms, left)
                        {
                            self.check()?;
                            let request = request(Some(stored), None);
                            cache.refresh_ahead(request, loader(cache, self.policy.codec, load));
                        }
                        return Ok(hit(value, terms.age(left)));
                    }
                    Err(why) => {
                        cache.count(Operation::Fetch, Outcome::Miss);
                        let operation = Operation::Fetch;
                        let noted = cache.note_undecodable::<T>(operation, &key, &stored, why);
                        Box::pin(noted).await;
                        request(None, None)
                    }
                },
                found => {
                    let age = found.as_ref().ok().and_then(Option::as_ref).and_then(age);
                    match cache.missed(&key, takes_absent, found)? {
                        Missed::Absent => {
                            return Ok(Fetched { value: None, outcome: FetchOutcome::Absent });
                        }
                        Missed::Stale(stored) => {
                            if let Ok(value) = open(&stored) {
                                cache.shared.observer.bytes(Direction::Read, Size::of(&stored));
                                self.check()?;
                                let request = Arc::new(request(Some(stored), age));
                                let load = loader(cache, self.policy.codec, load);
                                let (wait, mut outcome) = cache.begin_stale(&request, load)?;
                                if let Some(wait) = wait {
                                    let waited = cache.wait_softly(&request, wait, outcome);
                                    match Box::pin(waited).await {
                                        Ok(found) => {
                                            if let Some(fetched) = opened(&request, found) {
                                                cache.count_in_place_of_stale(&fetched.outcome);
                                                return Ok(fetched);
                                            }
                                            outcome = request.stale(Staleness::Refreshing);
                                        }
                                        Err(stale) => outcome = stale,
                                    }
                                }
                                cache.count(Operation::Fetch, Outcome::Stale);
                                return Ok(Fetched { value: Some(value), outcome });
                            }
                            cache.count(Operation::Fetch, Outcome::Miss);
                            request(None, None)
                        }
                        Missed::Nothing => request(None, None),
                        Missed::Failed => Request { store_failed: true, ..request(None, None) },
                    }
                }
            },
            Mode::Force if found.is_err() => {
                cache.missed(&key, takes_absent, found)?;
                Request { store_failed: true, ..request(None, None) }
            }
            Mode::Force => request(Box::pin(cache.force(&key)).await, None),
            Mode::Bypass => request(None, None),
        };
        self.check()?;
        let (request, mut load) = (Arc::new(request), Some(loader(cache, self.policy.codec, load)));
        let found = Box::pin(cache.load_for(&request, &mut load)).await?;
        if let Some(fetched) = opened(&request, found) {
            return Ok(fetched);
        }
        // The load of another caller returned a value of another type, or no value.
        let found = Box::pin(cache.load_alone(&request, &mut load)).await?;
        opened(&request, found).ok_or_else(|| cache.failed(&request, no_value()))
    }
}

fn age((found, left): &(Found, Ttl)) -> Option<Duration> {
    match found {
        Found::Fresh(_, terms) | Found::Stale(_, terms) => terms.age(*left),
        Found::Absent | Found::Floor | Found::Lease(_) | Found::Invalid => None,
    }
}

/// Decodes the result of a load. `None` if it is of no use to this caller: a value of another type,
/// or no value.
fn opened<A: As<V, T>, V: Form, T>(
    cache: &Cache<V>,
    request: &Request,
    found: FetchedBytes,
) -> Option<Fetched<A::Value>> {
    let value = match found.value {
        Some(stored) => Some(A::open(cache, &request.key, &stored).ok()?),
        None if request.takes_absent => None,
        None => return None,
    };
    Some(Fetched { value, outcome: found.outcome })
}

/// Returns whether stored bytes are a value of this type.
fn is_a<V: Decode<T>, T>(values: &Pipeline, stored: &Bytes) -> bool {
    V::open(stored, values).is_ok()
}

/// Makes a loader that returns bytes, so that what follows does not depend on its types.
fn loader<V, T, E, L, F>(cache: &Cache<V>, codec: Option<Codec>, load: L) -> Loader<V>
where
    V: Form,
    V: Encode<T>,
    T: 'static,
    E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    L: FnOnce(LoadContext<V>) -> F + Send + 'static,
    F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
{
    let values = cache.shared.values.clone();
    Box::new(move |context| {
        Box::pin(async move {
            let loaded = load(context).await;
            match loaded {
                Ok(Loaded::Value(value)) => V::seal(&value, &values, codec).map(LoadedBytes::Value),
                Ok(Loaded::Absent) => Ok(LoadedBytes::Absent),
                Ok(Loaded::NotModified) => Ok(LoadedBytes::NotModified),
                Err(error) => Err(Error::from_loader(error)),
            }
        })
    })
}
