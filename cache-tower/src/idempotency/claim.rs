//! The claim of one execution on its key: the first writer of the record has it.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Cache, Keyspace, Result, Timeout};
use tokio::task::JoinHandle;

use super::{
    record::{Record, State},
    settings::Settings,
};

const KEYS: Keyspace<str, ()> = Keyspace::new("idempotency");

/// The right to execute the request of a key, which lasts for a lease that a task renews.
pub(super) struct Claim {
    held: Arc<Held>,
    renewal: JoinHandle<()>,
}

struct Held {
    cache: Cache<Bytes>,
    key: String,
    /// The record while the request is executed. Its random number is this execution's own.
    running: Record,
    lease: Duration,
}

/// The answer of the store on a request.
pub(super) enum Begin {
    /// This request is the first one.
    First(Claim),
    /// Another request came first.
    Found(Record),
    /// The record of another request has just expired, or a replica does not have it yet.
    Unknown,
}

impl Claim {
    /// Claims the key, if it is free: exactly one of all processes gets it.
    pub(super) async fn begin(
        settings: &Settings,
        scope: &str,
        fingerprint: &str,
    ) -> Result<Begin> {
        let cache = &settings.cache;
        let key = KEYS.key(scope)?;
        let state = State::Running(random());
        let running = Record { fingerprint: fingerprint.to_owned(), state };
        if cache.add(&key, &running.write(), settings.lease).await? {
            let held = Held { cache: cache.clone(), key, running, lease: settings.lease };
            let held = Arc::new(held);
            let renewal = tokio::spawn(renew(Arc::clone(&held)));
            return Ok(Begin::First(Self { held, renewal }));
        }
        match cache.get::<Bytes>(&key).await? {
            Some(stored) => Ok(Begin::Found(Record::read(&stored)?)),
            None => Ok(Begin::Unknown),
        }
    }

    /// Stores the result of the execution. Another execution, which began after this one had lost
    /// its lease, keeps its claim.
    pub(super) async fn finish(&self, state: State, lifetime: Timeout) -> Result<()> {
        let held = &self.held;
        let done = Record { fingerprint: held.running.fingerprint.clone(), state }.write();
        held.replace(lifetime, &done).await
    }

    /// Frees the key: the next request is executed.
    pub(super) async fn release(self) -> Result<()> {
        self.renewal.abort();
        // A lifetime of zero removes the record.
        let held = &self.held;
        held.replace(Timeout::After(Duration::ZERO), &held.running.write()).await
    }
}

impl Drop for Claim {
    /// Ends the renewals, also if the service panicked: then the key is free after the lease.
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Held {
    /// Writes `new` if the store has the own record, or none: it may have lost it.
    async fn replace(&self, lifetime: Timeout, new: &Bytes) -> Result<()> {
        let own = self.running.write();
        let change = |old: Option<Bytes>| match old {
            Some(old) if old != own => None,
            _ => Some(new.clone()),
        };
        self.cache.upsert(&self.key, lifetime, change).await.map(drop)
    }
}

/// Extends the lease each time a third of it has passed. A failure is tried again by the next turn.
async fn renew(held: Arc<Held>) {
    loop {
        held.cache.clock().sleep(held.lease / 3).await;
        let _ = held.replace(Timeout::After(held.lease), &held.running.write()).await;
    }
}

fn random() -> u64 {
    // The keys of each `RandomState` differ, and those of a process are from the operating system.
    RandomState::new().hash_one(std::process::id())
}
