//! A store with one key, which the processes share, and its clock.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Ttl,
    store::{Entry, Expected, Expiry, SetMode, Stamp, TtlUpdate},
};
use shuttle::{
    future::yield_now,
    rand::{Rng as _, thread_rng},
};

use crate::{
    error::Result,
    runtime::sync::{Arc, AtomicU64, Mutex, Ordering::SeqCst},
};

/// A fault of the fences, which the invariants must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// A loaded value is stored over everything.
    StoresAlways,
    /// A loaded value is stored if its lease was deleted.
    StoresWithoutLease,
    /// A loaded value is stored over any entry that is there, unless it is a lease.
    StoresOverOtherEntries,
    /// A lease is released by a delete of everything.
    ReleasesEverything,
    /// Each process takes the leases of others for its own.
    TakesLeasesOver,
    /// The leases of all processes have the same bytes.
    EqualLeases,
}

#[derive(Clone)]
pub(crate) struct SharedStore(Arc<State>);

struct State {
    stored: Mutex<Option<Stored>>,
    writes: AtomicU64,
    millis: AtomicU64,
    bug: Bug,
}

#[derive(Clone)]
struct Stored {
    value: Bytes,
    until: Option<Duration>,
    stamp: u64,
}

impl SharedStore {
    pub(crate) fn new(bug: Bug) -> Self {
        let state = State {
            stored: Mutex::default(),
            writes: AtomicU64::new(0),
            millis: AtomicU64::new(0),
            bug,
        };
        Self(Arc::new(state))
    }

    pub(crate) fn bug(&self) -> Bug {
        self.0.bug
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.0.millis.load(SeqCst))
    }

    /// Sleeps for some steps, in which this time passes: the others are as slow as the schedule
    /// makes them.
    pub(crate) async fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        for _ in 0..thread_rng().gen_range(1..4) {
            yield_now().await;
        }
        let until = u64::try_from(until.as_millis()).unwrap() + 1;
        self.0.millis.fetch_max(until, SeqCst);
    }

    /// Makes a change. It has its effect some time after it was sent.
    async fn change<T>(&self, change: impl FnOnce(&mut Option<Stored>) -> T) -> T {
        yield_now().await;
        let res = {
            let mut stored = self.0.stored.lock().unwrap();
            let now = self.now();
            if stored.as_ref().is_some_and(|it| it.until.is_some_and(|until| until <= now)) {
                *stored = None;
            }
            change(&mut stored)
        };
        yield_now().await;
        res
    }

    fn entry(&self, value: Bytes, expiry: Expiry) -> Stored {
        let until = match expiry {
            Expiry::Never => None,
            Expiry::After(time) => Some(self.now() + time),
        };
        Stored { value, until, stamp: self.0.writes.fetch_add(1, SeqCst) }
    }

    pub(crate) async fn get_entry(&self) -> Option<Entry> {
        let stored = self.change(|it| it.clone()).await?;
        let left = stored.until.map(|until| until.saturating_sub(self.now()));
        let ttl = left.map_or(Ttl::Forever, Ttl::Remaining);
        Some(Entry::new(stored.value, ttl, Stamp(stored.stamp)))
    }

    /// Returns the bytes that are stored, expired or not.
    pub(crate) fn peek(&self) -> Option<Bytes> {
        self.0.stored.lock().unwrap().as_ref().map(|it| it.value.clone())
    }

    /// Sets or deletes the key.
    pub(crate) async fn write(&self, new: Option<(Bytes, Expiry)>) {
        let write = |it: &mut Option<Stored>| {
            *it = new.map(|(value, expiry)| self.entry(value, expiry));
        };
        self.change(write).await;
    }

    pub(crate) async fn set(
        &self,
        _: &str,
        value: Bytes,
        expiry: Expiry,
        mode: SetMode,
    ) -> Result<bool> {
        let set = |it: &mut Option<Stored>| {
            let sets = mode == SetMode::Always || it.is_none();
            if sets {
                *it = Some(self.entry(value, expiry));
            }
            Ok(sets)
        };
        self.change(set).await
    }

    pub(crate) async fn compare_and_set(
        &self,
        _: &str,
        seen: Expected<'_>,
        value: Bytes,
        ttl: TtlUpdate,
    ) -> Result<bool> {
        let TtlUpdate::New(expiry) = ttl else { unreachable!("a fence sets a lifetime") };
        let set = |it: &mut Option<Stored>| {
            let is_seen = match it.as_ref() {
                Some(stored) => {
                    let is_value = !stored.value.starts_with(b"lease");
                    seen.is(&stored.value, Stamp(stored.stamp))
                        || (is_value && self.bug() == Bug::StoresOverOtherEntries)
                }
                None => self.bug() == Bug::StoresWithoutLease,
            };
            let sets = is_seen || self.bug() == Bug::StoresAlways;
            if sets {
                *it = Some(self.entry(value, expiry));
            }
            Ok(sets)
        };
        self.change(set).await
    }

    pub(crate) async fn compare_and_delete(&self, _: &str, seen: Expected<'_>) -> Result<bool> {
        let delete = |it: &mut Option<Stored>| {
            let deletes = it.as_ref().is_some_and(|stored| {
                seen.is(&stored.value, Stamp(stored.stamp)) || self.bug() == Bug::ReleasesEverything
            });
            if deletes {
                *it = None;
            }
            Ok(deletes)
        };
        self.change(delete).await
    }
}
