use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Breaker, Breakers, Layered, deadline::Deadline, retry::Retry, stack::Stack};
use crate::{
    bus::BusStore,
    config::CacheSettings,
    error::{Error, ErrorKind, Result},
    near::Near,
    runtime::Clock,
    store::{Backend, Entry, Objects},
    telemetry::{observer::Observer, stats::Counters},
};

/// The store of an alias with its layers.
///
/// The layers are put on where a store is built, and not by its cache: a store that is made of the
/// stores of other aliases gets their layers with them.
#[derive(Clone)]
pub(crate) struct BuiltStore {
    pub(crate) backend: Arc<dyn Backend>,
    /// The circuit breaker of a store with one server.
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) observer: Observer,
    /// The maximum duration of a call with one key.
    pub(crate) patience: Duration,
    /// The part of `backend` that is in memory, if `backend` waits for servers.
    pub(crate) in_memory: Option<InMemory>,
}

impl BuiltStore {
    /// Verifies the deadlines and the settings of the layers.
    pub(crate) fn check(alias: &str, store: &Arc<dyn Backend>, it: &CacheSettings) -> Result<()> {
        let error = |setting: &str, what: Cow<'static, str>| {
            Error::new(ErrorKind::Config, what)
                .with_context("setting", format!("caches.{alias}.{setting}"))
        };
        for (setting, time) in [
            ("deadline", it.deadline),
            ("connect_deadline", it.connect_deadline),
            ("load_deadline", it.load_deadline),
        ] {
            if Duration::from(time).is_zero() {
                let what =
                    "expected a duration above zero: with zero every call that waits would fail";
                return Err(error(setting, what.into()));
            }
        }
        // `dummy` replaces any store in tests.
        if it.retry.retries > 0 && never_waits(store) && store.name() != "dummy" {
            let what = format!(
                "retries have no effect: the store `{}` never waits for a server; remove the setting",
                store.name()
            );
            return Err(error("retry.retries", what.into()));
        }
        let breaker = it.breaker.check();
        breaker.map_err(|(setting, what)| error(&format!("breaker.{setting}"), what.into()))
    }

    /// Puts the layers around `store`.
    ///
    /// `breaker` is the breaker of the store's only server.
    pub(crate) fn new(
        store: Arc<dyn Backend>,
        settings: &CacheSettings,
        clock: &Clock,
        observer: Observer,
        breaker: Option<Arc<Breaker>>,
    ) -> Self {
        let facts = store.capabilities();
        let deadline = settings.deadline.into();
        let connect =
            if facts.connects { settings.connect_deadline.into() } else { Duration::ZERO };
        let patience = connect.saturating_add(deadline);
        if never_waits(&store) {
            return Self { backend: store, breaker: None, observer, patience, in_memory: None };
        }
        let breaker = breaker.filter(|_| !facts.breaks_per_server);
        let stack = Stack {
            backend: store.name(),
            observer: observer.clone(),
            breaker: breaker.clone(),
            retry: Retry::new(settings.retry, patience, clock.clone()),
            deadline: Deadline::new(deadline, connect, clock.clone()),
        };
        let backend = Arc::new(Layered::new(Arc::new(stack), store));
        Self { backend, breaker, observer, patience, in_memory: None }
    }

    /// Puts a near tier around the layers.
    pub(crate) fn with_near(mut self, near: Near) -> Self {
        let near = Arc::new(near);
        self.backend = Arc::clone(&near) as _;
        self.in_memory = Some(InMemory::Near(near));
        self
    }

    /// Replaces a store in the process by the same store on a bus.
    pub(crate) fn with_bus(mut self, store: BusStore) -> Self {
        let store = Arc::new(store);
        self.backend = Arc::clone(&store) as _;
        self.patience = store.patience();
        self.in_memory = Some(InMemory::Bus(store));
        self
    }

    /// Puts the layers around a store that was made in code, with a breaker of its own.
    pub(crate) fn by_hand(
        alias: &str,
        store: Arc<dyn Backend>,
        settings: &CacheSettings,
        clock: &Clock,
        observer: Observer,
    ) -> Self {
        let breakers = Breakers::new(&Arc::default(), alias, settings, clock);
        Self::new(store, settings, clock, observer, breakers.map(|it| it.of("its own")))
    }
}

/// The part of a store whose hits need no future.
#[derive(Clone)]
pub(crate) enum InMemory {
    Near(Arc<Near>),
    Bus(Arc<BusStore>),
}

impl InMemory {
    /// Returns the stored bytes of a key if they are in memory.
    #[inline]
    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        match self {
            Self::Near(it) => it.value(key),
            Self::Bus(it) => it.value(key),
        }
    }

    /// Returns the entry of a key if it is in memory.
    #[inline]
    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        match self {
            Self::Near(it) => it.entry(key),
            Self::Bus(it) => it.entry(key),
        }
    }

    /// Removes the copy of a key that another store holds.
    pub(crate) fn forget_copy(&self, key: &str) {
        if let Self::Near(it) = self {
            it.forget(key);
        }
    }

    /// Returns the decoded values beside the entries.
    pub(crate) fn objects(&self) -> Arc<dyn Objects> {
        match self {
            Self::Near(it) => Arc::clone(it) as _,
            Self::Bus(it) => Arc::clone(it) as _,
        }
    }

    /// Counts a read of a decoded value.
    #[inline]
    pub(crate) fn count_hit(&self) {
        if let Self::Near(it) = self {
            it.count_hit();
        }
    }

    /// Returns the counters of the alias.
    pub(crate) fn counters(&self) -> Counters {
        match self {
            Self::Near(it) => it.counters(),
            Self::Bus(it) => it.counters(),
        }
    }
}

/// Returns whether the store needs no layers.
fn never_waits(store: &Arc<dyn Backend>) -> bool {
    Arc::clone(store).views().sync.is_some()
}
