//! The read of a fetch, which decides whether to load.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Fetch,
    entries::Missed,
    request::{Age, LoadedBytes, Loader, Mode, Request},
};
use crate::{
    cache::Cache,
    error::{Error, ErrorKind, Result},
    fetch::{FetchOutcome, Fetched, LoadContext, Loaded, RefreshAhead},
    key::FullKey,
    layer::Operation,
    telemetry::{observer::Direction, stats::Outcome},
    timeout::Ttl,
    value::{
        Pipeline,
        envelope::{Found, Terms},
    },
};

impl Fetch<'_> {
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_custom {
            return Ok(());
        }
        self.policy.check(self.cache.shared.fetch.allowed()).map_err(|(setting, what)| {
            let error = Error::new(ErrorKind::Config, format!("`{setting}` of a fetch: {what}"));
            self.cache.refuse(Operation::Fetch, error)
        })
    }

    pub(super) async fn run<T, E, L, F>(self, takes_absent: bool, load: L) -> Result<Fetched<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext) -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        self.check()?;
        let cache = self.cache;
        let mut key = FullKey::new();
        cache.write_key(Operation::Fetch, self.key, &mut key)?;
        // Before the first read: another process that makes this fetch may have stored an entry
        // with this lifetime.
        cache.note_policy(&self.policy);
        let write_epoch = cache.shared.flights.write_epoch(&key);
        let request = |old: Option<Bytes>, stale| Request {
            key,
            name: self.key.into(),
            policy: self.policy,
            mode: self.mode,
            write_epoch,
            old,
            stale,
            store_failed: false,
            takes_absent,
            is_type: is_a::<T>,
        };
        let request = match self.mode {
            Mode::Usual => match cache.find_for_fetch(&key, &self.policy).await {
                Ok(Some((Found::Fresh(stored, terms), left))) => {
                    match cache.shared.values.open(&stored) {
                        Ok(value) => {
                            cache.shared.observer.bytes(Direction::Read, stored.len());
                            cache.count(Operation::Fetch, Outcome::Hit);
                            if self.policy.refresh_ahead != RefreshAhead::Off
                                && cache.is_due(&self.policy, &terms, left)
                            {
                                let request = request(Some(stored), None);
                                cache.refresh_ahead(request, loader(cache, load));
                            }
                            return Ok(hit(value, terms, left));
                        }
                        Err(why) => {
                            cache.count(Operation::Fetch, Outcome::Miss);
                            let operation = Operation::Fetch;
                            let noted = cache.note_undecodable::<T>(operation, &key, &stored, why);
                            Box::pin(noted).await;
                            request(None, None)
                        }
                    }
                }
                found => {
                    let age = found.as_ref().ok().and_then(Option::as_ref).and_then(age);
                    match cache.missed(&key, takes_absent, found, is_a::<T>)? {
                        Missed::Absent => {
                            return Ok(Fetched { value: None, outcome: FetchOutcome::Absent });
                        }
                        Missed::Stale(stored) => request(Some(stored), Some(Age(age))),
                        Missed::Nothing => request(None, None),
                        Missed::Failed => Request { store_failed: true, ..request(None, None) },
                    }
                }
            },
            Mode::Force => request(Box::pin(cache.force(&key)).await, None),
            Mode::Bypass => request(None, None),
        };
        let found = Box::pin(cache.load_for(request, loader(cache, load))).await?;
        let value = match found.value {
            None => None,
            Some(stored) => Some(cache.shared.values.open(&stored).map_err(|why| {
                let error = Error::new(ErrorKind::Codec, why.to_string());
                cache.fail(Operation::Fetch, Some(&key), error)
            })?),
        };
        Ok(Fetched { value, outcome: found.outcome })
    }
}

fn age((found, left): &(Found, Ttl)) -> Option<Duration> {
    match found {
        Found::Fresh(_, terms) | Found::Stale(_, terms) => terms.age(*left),
        Found::Absent => None,
    }
}

fn hit<T>(value: T, terms: Terms, left: Ttl) -> Fetched<T> {
    Fetched { value: Some(value), outcome: FetchOutcome::Hit { age: terms.age(left) } }
}

/// Returns whether stored bytes are a value of this type.
fn is_a<T: DeserializeOwned>(values: &Pipeline, stored: &Bytes) -> bool {
    values.open::<T>(stored).is_ok()
}

/// Makes a loader that returns bytes, so that what follows does not depend on its types.
fn loader<T, E, L, F>(cache: &Cache, load: L) -> Loader
where
    T: Serialize + 'static,
    E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    L: FnOnce(LoadContext) -> F + Send + 'static,
    F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
{
    let values = cache.shared.values.clone();
    Box::new(move |context| {
        Box::pin(async move {
            let loaded = load(context).await;
            match loaded {
                Ok(Loaded::Value(value)) => values.seal(&value).map(LoadedBytes::Value),
                Ok(Loaded::Absent) => Ok(LoadedBytes::Absent),
                Ok(Loaded::NotModified) => Ok(LoadedBytes::NotModified),
                Err(error) => Err(Error::from_loader(error)),
            }
        })
    })
}
