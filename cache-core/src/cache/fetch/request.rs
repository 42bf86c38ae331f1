//! A fetch whose read found no fresh value, for the modules that load.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    consistency::tag_set::TagSet,
    error::{Error, ErrorKind, Result},
    fetch::{FetchOutcome, Fetched, LoadContext, Policy, Staleness},
    key::FullKey,
    timeout::Ttl,
    value::{Pipeline, envelope::Found},
};

/// A fetch whose read found no fresh value.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) key: FullKey,
    /// The caller's key.
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    /// The tags of a loaded value.
    pub(super) tags: Option<Arc<TagSet>>,
    pub(super) mode: Mode,
    /// The count of writes before the read.
    pub(super) write_epoch: u64,
    /// The stored value.
    pub(super) old: Option<Bytes>,
    /// The age of a stale value, if it is known.
    pub(super) age: Option<Duration>,
    /// The store failed, so the loaded value is not stored.
    pub(super) store_failed: bool,
    /// Whether the caller takes the answer that there is no value.
    pub(super) takes_absent: bool,
    /// Whether bytes are a value of the caller's type.
    pub(super) is_type: fn(&Pipeline, &Bytes) -> bool,
}

/// How a fetch treats the stored value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Usual,
    Force,
    Bypass,
}

/// The result of a fetch, before it is decoded.
pub(super) struct FetchedBytes {
    pub(super) value: Option<Bytes>,
    pub(super) outcome: FetchOutcome,
}

/// The answer of a read of a fetch: the value, and its remaining lifetime if the fetch needs it.
pub(super) type FoundEntry = Result<Option<(Found, Ttl)>>;

/// The result of the read that needs no future.
pub(super) enum Start<T> {
    /// A fresh value and its age.
    Hit(T, Option<Duration>),
    /// The count of writes before the read, and its answer if the store never waits.
    Read(u64, Option<FoundEntry>),
}

pub(super) fn hit<T>(value: T, age: Option<Duration>) -> Fetched<T> {
    Fetched { value: Some(value), outcome: FetchOutcome::Hit { age } }
}

/// A loader whose value is already serialized.
pub(super) type Loader<V> = Box<dyn FnOnce(LoadContext<V>) -> LoadFuture + Send>;
type LoadFuture = Pin<Box<dyn Future<Output = Result<LoadedBytes>> + Send>>;

/// The answer of a loader.
pub(super) enum LoadedBytes {
    Value(Bytes),
    Absent,
    NotModified,
}

/// How much longer than its loader a load may take, so that its callers get the error of the
/// deadline before they load for themselves.
const MARGIN: Duration = Duration::from_millis(250);

impl Request {
    /// Returns the outcome of a fetch that serves the stored value.
    pub(super) fn stale(&self, why: Staleness) -> FetchOutcome {
        FetchOutcome::Stale { age: self.age, why }
    }

    /// Returns the longest time of the flight.
    pub(super) fn lasts(&self) -> Duration {
        self.policy.longest_load().saturating_add(MARGIN)
    }
}

#[cold]
pub(super) fn no_value() -> Error {
    Error::new(ErrorKind::Loader, "the load of another caller found no value")
}
