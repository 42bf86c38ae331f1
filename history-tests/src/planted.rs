//! Stores with a planted bug, which the checks must find.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Driver, Error, ErrorKind, Result,
    store::{
        Backend, BuildContext, CounterInit, Expected, Expiry, SetMode, TtlUpdate, Views, forward,
    },
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// A bug. Each was found in a real cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bug {
    /// `add` reads, and then writes.
    AddInTwoSteps,
    /// An increment reads, and then writes.
    IncrementInTwoSteps,
    /// An increment is sent again after its reply was lost.
    IncrementTwice,
    /// `pop` reads, and then deletes.
    PopInTwoSteps,
    /// A write that timed out takes effect later.
    WriteArrivesLate,
    /// `delete` returns before the entry is removed.
    DeleteIsAcknowledgedEarly,
    /// A compare-and-set replaces any value.
    CompareAndSetIgnoresTheValue,
    /// Loads have no fence. This is a setting, and not a bug of the store.
    LoadsAreNotFenced,
    /// A load stores its value although its lease was deleted.
    LeaseIsIgnored,
    /// The release of a lock deletes the lock of any owner.
    ReleaseIgnoresTheOwner,
    /// `touch` gives an expired entry a new lifetime.
    TouchRevives,
    /// A process serves what it read a moment before.
    ReadsAreRemembered,
    /// Two locks get one fencing number.
    FencingNumbersRepeat,
    /// A program reads the versions of tags after the load. This is in the calls, not in the store.
    TagVersionsAreReadLate,
    /// A process takes a tag whose marker is missing for valid.
    MissingMarkerIsValid,
    /// An invalidation of tags does not reach other processes.
    InvalidationStaysInItsProcess,
    /// The clear of a namespace does not reach other processes.
    ClearStaysInItsProcess,
    /// A write with an older revision replaces a newer one.
    OlderRevisionReplaces,
    /// A process serves batches from what it read a moment before.
    BatchesAreRemembered,
}

impl Bug {
    /// All bugs.
    pub const ALL: &[Self] = &[
        Self::AddInTwoSteps,
        Self::IncrementInTwoSteps,
        Self::IncrementTwice,
        Self::PopInTwoSteps,
        Self::WriteArrivesLate,
        Self::DeleteIsAcknowledgedEarly,
        Self::CompareAndSetIgnoresTheValue,
        Self::LoadsAreNotFenced,
        Self::LeaseIsIgnored,
        Self::ReleaseIgnoresTheOwner,
        Self::TouchRevives,
        Self::ReadsAreRemembered,
        Self::FencingNumbersRepeat,
        Self::TagVersionsAreReadLate,
        Self::MissingMarkerIsValid,
        Self::InvalidationStaysInItsProcess,
        Self::ClearStaysInItsProcess,
        Self::OlderRevisionReplaces,
        Self::BatchesAreRemembered,
    ];
}

/// The store `planted`: the store of the alias in `location`, with the bug in `options.bug`.
pub(crate) const DRIVER: Driver = Driver::new("planted", build);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        bug: Bug,
    }
    let Options { bug } = context.options()?;
    let inner = context.backend_of("inner")?;
    let (calls, seen) = (AtomicU64::new(0), Mutex::default());
    Ok(Arc::new(Planted { inner, bug, calls, seen }))
}

#[derive(Debug)]
struct Planted {
    inner: Arc<dyn Backend>,
    bug: Bug,
    calls: AtomicU64,
    /// The values that this process wrote or read, and until when.
    seen: Mutex<HashMap<String, (Bytes, Instant)>>,
}

impl Planted {
    /// Returns `true` for each call of this number.
    fn each(&self, number: u64) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(number)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, (Bytes, Instant)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: &str, value: &Bytes, time: Duration) {
        self.seen().insert(key.to_owned(), (value.clone(), Instant::now() + time));
    }

    /// Returns a value that was read at most so many milliseconds before.
    async fn remembered(&self, key: &str, time: u64) -> Result<Option<Bytes>> {
        let seen = self.seen().get(key).filter(|it| it.1 > Instant::now()).map(|it| it.0.clone());
        if seen.is_some() {
            return Ok(seen);
        }
        let value = self.inner.get(key).await?;
        if let Some(value) = &value {
            self.remember(key, value, Duration::from_millis(time));
        }
        Ok(value)
    }

    /// Returns whether the bug is in the calls on this key, which is a marker.
    fn is_marker(&self, key: &str) -> bool {
        match self.bug {
            Bug::MissingMarkerIsValid | Bug::InvalidationStaysInItsProcess => {
                key.contains(":tag:") && !key.contains(":ns:tag:")
            }
            Bug::ClearStaysInItsProcess => key.contains(":ns:tag:"),
            _ => false,
        }
    }

    /// Returns the version of a marker.
    async fn marker(&self, key: &str) -> Result<Option<Bytes>> {
        let last = self.seen().get(key).map(|it| it.0.clone());
        if self.bug != Bug::MissingMarkerIsValid {
            return if last.is_some() { Ok(last) } else { self.inner.get(key).await };
        }
        let found = self.inner.get(key).await?;
        if let Some(found) = &found {
            self.remember(key, found, FOREVER);
        }
        Ok(found.or(last))
    }
}

/// Longer than a run.
const FOREVER: Duration = Duration::from_secs(3600);

/// Returns whether this is a value with a revision, and not a lease or a floor.
fn is_revised_value(key: &str, value: &[u8]) -> bool {
    key.starts_with("revised:") && value.windows(9).any(|it| it == b"[\"revised")
}

/// Waits between two steps that should be one.
async fn pause() {
    // sleeps: other calls happen between the steps
    sleep(Duration::from_millis(2)).await;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Planted {
    forward!(
        Backend,
        self.inner,
        except get,
        get_many,
        set,
        set_many,
        touch,
        delete,
        take,
        incr,
        compare_and_delete,
        compare_and_set
    );

    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        if self.is_marker(key) {
            return self.marker(key).await;
        }
        if self.bug != Bug::ReadsAreRemembered {
            return self.inner.get(key).await;
        }
        self.remembered(key, 10).await
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let remembers = self.bug == Bug::BatchesAreRemembered;
        if !remembers && !keys.iter().any(|it| self.is_marker(it)) {
            return self.inner.get_many(keys).await;
        }
        let mut res = Vec::new();
        for key in keys {
            res.push(if remembers { self.remembered(key, 40).await } else { self.get(key).await });
        }
        res
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        if !items.iter().any(|it| self.is_marker(it.0)) {
            return self.inner.set_many(items, expiry).await;
        }
        if self.bug != Bug::MissingMarkerIsValid {
            for (key, value) in items {
                self.remember(key, value, FOREVER);
            }
            return items.iter().map(|_| Ok(())).collect();
        }
        let res = self.inner.set_many(items, expiry).await;
        for (key, _) in items {
            // The store evicts the marker.
            let _ = self.inner.delete(key).await;
        }
        res
    }

    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        match (self.bug, mode) {
            (Bug::AddInTwoSteps, SetMode::IfAbsent) => {
                if self.inner.has(key).await? {
                    return Ok(false);
                }
                pause().await;
                return self.inner.set(key, value, expiry, SetMode::Always).await;
            }
            (Bug::WriteArrivesLate, SetMode::Always) if self.each(8) => {
                let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
                tokio::spawn(async move {
                    // sleeps: the caller goes on meanwhile
                    sleep(Duration::from_millis(60)).await;
                    inner.set(&key, value, expiry, mode).await
                });
                return Err(Error::new(ErrorKind::TimedOut, "no answer"));
            }
            (Bug::OlderRevisionReplaces, SetMode::IfAbsent) if is_revised_value(key, &value) => {
                return self.inner.set(key, value, expiry, SetMode::Always).await;
            }
            (Bug::TouchRevives, _) => {
                let written = self.inner.set(key, value.clone(), expiry, mode).await?;
                if let Expiry::After(time) = expiry
                    && written
                {
                    self.remember(key, &value, time);
                }
                return Ok(written);
            }
            _ => {}
        }
        self.inner.set(key, value, expiry, mode).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let is_live = self.inner.touch(key, expiry).await?;
        if self.bug == Bug::TouchRevives && !is_live {
            let expired = |it: &&(Bytes, Instant)| it.1 < Instant::now();
            let last = self.seen().get(key).filter(expired).map(|it| it.0.clone());
            if let Some(value) = last {
                return self.inner.set(key, value, expiry, SetMode::IfAbsent).await;
            }
        }
        Ok(is_live)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        if self.bug != Bug::DeleteIsAcknowledgedEarly {
            return self.inner.delete(key).await;
        }
        let is_live = self.inner.has(key).await?;
        let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
        tokio::spawn(async move {
            pause().await;
            inner.delete(&key).await
        });
        Ok(is_live)
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        if self.bug != Bug::PopInTwoSteps {
            return self.inner.take(key).await;
        }
        let value = self.inner.get(key).await?;
        pause().await;
        self.inner.delete(key).await?;
        Ok(value)
    }

    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        match self.bug {
            Bug::IncrementInTwoSteps if create.is_some() => {
                let Some(value) = self.inner.get(key).await? else {
                    return self.inner.incr(key, delta, create).await;
                };
                pause().await;
                let sum = String::from_utf8_lossy(&value).parse().unwrap_or(0) + delta;
                self.inner.set(key, sum.to_string().into(), Expiry::Never, SetMode::Always).await?;
                Ok(Some(sum))
            }
            Bug::IncrementTwice if self.each(16) => {
                self.inner.incr(key, delta, create).await?;
                self.inner.incr(key, delta, create).await
            }
            // The numbers of locks begin with the time.
            Bug::FencingNumbersRepeat if create.is_some_and(|it| it.initial > 0) => {
                let number = self.inner.incr(key, delta, create).await?;
                Ok(number.map(|it| it - it % 2))
            }
            _ => self.inner.incr(key, delta, create).await,
        }
    }

    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        match self.bug {
            Bug::ReleaseIgnoresTheOwner => self.inner.delete(key).await,
            _ => self.inner.compare_and_delete(key, seen).await,
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let expiry = match lifetime {
            TtlUpdate::New(it) => it,
            TtlUpdate::Keep => Expiry::Never,
        };
        match self.bug {
            Bug::CompareAndSetIgnoresTheValue => {
                pause().await;
                self.inner.set(key, value, expiry, SetMode::IfPresent).await
            }
            // A lease begins like this.
            Bug::LeaseIsIgnored if seen.value.starts_with(b"\xc1\xca") => {
                self.inner.set(key, value, expiry, SetMode::Always).await
            }
            _ => self.inner.compare_and_set(key, seen, value, lifetime).await,
        }
    }
}
