//! The memory of the aliases with the same keys, and what messages change in it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    message::{self, Received},
    outbox::Outbox,
    stats::BusStats,
};
use crate::{
    consistency::{Peer, Peers, markers::Version},
    error::{Error, Result},
    fetch::singleflight::Singleflight,
    key::{Namespace, marker},
    near::Link,
    runtime::{self, Clock, PerProcess, random},
    store::{Backend, Bus, Expected, Objects, SyncBackend, TtlUpdate},
    telemetry::observer::Observer,
    timeout::Expiry,
};

/// A store in the process, and its part in the messages.
pub(crate) struct BusMemory {
    pub(super) store: Arc<dyn SyncBackend>,
    /// The decoded values that the store keeps.
    pub(super) objects: Option<Arc<dyn Objects>>,
    pub(super) bus: Arc<dyn Bus>,
    /// The store of which `bus` is a view.
    pub(super) server: Arc<dyn Backend>,
    pub(super) channel: String,
    pub(super) namespace: Namespace,
    /// Whether keys of another namespace were written, by a store that is made of this one.
    has_other_keys: AtomicBool,
    /// The number by which this process knows its own messages.
    id: PerProcess<u64>,
    pub(super) link: Link<()>,
    loads: OnceLock<Loads>,
    pub(super) outbox: Outbox,
    /// The error of the last message, if the server did not acknowledge it.
    pub(super) failure: Mutex<Option<Error>>,
    /// Notified when the server answers again.
    pub(super) answers: Arc<Notify>,
    /// The longest that a message may take.
    pub(super) patience: Duration,
    pub(super) clock: Clock,
    pub(super) observer: Observer,
    invalidations: AtomicU64,
    resets: AtomicU64,
}

/// The loads and the remembered markers of the caches.
struct Loads {
    /// Those over the memory.
    own: Peer,
    /// Those over all memory in the store.
    peers: Arc<Peers>,
}

/// A key, and the loads of which one may still store a value there.
type Arriving = (Arc<Singleflight>, Box<str>);

impl BusMemory {
    pub(super) fn new(
        (store, objects): (Arc<dyn SyncBackend>, Option<Arc<dyn Objects>>),
        (bus, server): (Arc<dyn Bus>, Arc<dyn Backend>),
        namespace: Namespace,
        patience: Duration,
        (clock, observer): (Clock, Observer),
    ) -> Self {
        Self {
            store,
            objects,
            bus,
            server,
            channel: message::channel(&namespace),
            namespace,
            has_other_keys: AtomicBool::new(false),
            id: PerProcess::new(),
            link: Link::new(()),
            loads: OnceLock::new(),
            outbox: Outbox::default(),
            failure: Mutex::default(),
            answers: Arc::default(),
            patience,
            clock,
            observer,
            invalidations: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        }
    }

    /// Sets the loads that messages end. The caches over the memory share them.
    pub(super) fn attach(&self, own: impl FnOnce() -> Peer, peers: &Arc<Peers>) {
        self.loads.get_or_init(|| Loads { own: own(), peers: Arc::clone(peers) });
    }

    pub(super) fn id(&self) -> u64 {
        *self.id.get_or_init(random)
    }

    /// Returns whether the memory is in use: messages arrive.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.link.is_open(&self.clock)
    }

    /// Notes that a key is written, before the write.
    pub(super) fn note(&self, key: &str) {
        if !self.namespace.contains(key) {
            self.has_other_keys.store(true, SeqCst);
        }
    }

    /// Returns whether a clear of this namespace removes all keys.
    pub(super) fn is_whole(&self, namespace: &Namespace) -> bool {
        *namespace == self.namespace && !self.has_other_keys.load(SeqCst)
    }

    /// Makes a change of another process.
    pub(super) fn apply(self: &Arc<Self>, change: &Received<'_>) {
        let keys = if let Received::Removed(keys) = change { keys.len() } else { 1 };
        self.invalidations.fetch_add(keys as u64, SeqCst);
        self.observer.bus_invalidations(keys as u64);
        match change {
            Received::Removed(keys) => {
                self.remove_again(
                    keys.iter().filter_map(|it| self.removed_elsewhere(it)).collect(),
                );
            }
            Received::Expired(key) => self.expired_elsewhere(key),
            Received::Cleared(namespace) => {
                self.clear(self.own(), || self.store.clear(namespace));
            }
            Received::StoreCleared => {
                let all = self.loads.get().map_or_else(Vec::new, |it| it.peers.all());
                self.clear(&all, || self.store.clear_store());
            }
        }
    }

    /// Removes all entries: messages may have been missed.
    pub(super) fn reset(self: &Arc<Self>) {
        self.resets.fetch_add(1, SeqCst);
        self.observer.bus_reset();
        self.clear(self.own(), || {
            if self.is_whole(&self.namespace) {
                self.store.clear(&self.namespace)
            } else {
                self.store.clear_store()
            }
        });
    }

    /// Removes a key. Returns it if a loaded value of it is on its way to the memory.
    fn removed_elsewhere(&self, key: &str) -> Option<Arriving> {
        let flights = self.own().map(|it| &it.flights);
        // First: a load that begins from now on reads what the other process has changed.
        let arriving = flights.filter(|it| it.changed_elsewhere(key));
        self.remove(key);
        if marker::is_marker(key) {
            self.replaced_elsewhere(key);
        }
        arriving.map(|it| (Arc::clone(it), key.into()))
    }

    /// Counts an expiry in the marker of a tag.
    fn expired_elsewhere(&self, key: &str) {
        // Without the marker, no entry is valid.
        if !self.count_expiry(key) {
            self.remove(key);
        }
        self.replaced_elsewhere(key);
    }

    /// Counts an expiry in a marker. Returns `false` if it was changed meanwhile, has no version or
    /// a full count.
    fn count_expiry(&self, key: &str) -> bool {
        let Ok(Some(version)) = self.store.get(key) else { return false };
        let next = Version::parse(&version).and_then(Version::expired);
        let Some(next) = next.map(|it| it.text().as_bytes().to_vec()) else { return false };
        let seen = Expected::value(&version);
        // A plain write could undo an invalidation by this process.
        let lifetime = TtlUpdate::New(Expiry::Never);
        self.store.compare_and_set(key, seen, next.into(), lifetime).unwrap_or(false)
    }

    /// Forgets the version of a marker, after it was changed in the memory.
    fn replaced_elsewhere(&self, key: &str) {
        let Some(loads) = self.own() else { return };
        loads.markers.forget(key);
        if let Some(tag) = marker::tag_of(key) {
            loads.flights.detach_tagged(&[tag]);
        }
    }

    fn own(&self) -> Option<&Peer> {
        self.loads.get().map(|it| &it.own)
    }

    /// Removes all entries of caches with these loads.
    fn clear<'a>(
        self: &Arc<Self>,
        loads: impl IntoIterator<Item = &'a Peer> + Clone,
        clear: impl FnOnce() -> Result<()>,
    ) {
        // First: a load that begins from now on reads what other processes have changed.
        let arriving = loads.clone().into_iter().flat_map(|it| {
            let keys = it.flights.detach_all_now().into_iter();
            keys.map(move |key| (Arc::clone(&it.flights), key))
        });
        let arriving = arriving.collect();
        // A store in the process does not fail.
        let _: Result<()> = clear();
        loads.into_iter().for_each(|it| it.markers.forget_all());
        self.remove_again(arriving);
    }

    /// Removes keys again after the loaded values that were on their way have been stored.
    fn remove_again(self: &Arc<Self>, keys: Vec<Arriving>) {
        if keys.is_empty() {
            return;
        }
        // Messages arrive on this runtime, so it exists.
        let Ok(own) = runtime::own() else { return };
        // Each by itself: one that does not arrive delays no other.
        for (flights, key) in keys {
            let memory = Arc::clone(self);
            drop(own.spawn(async move {
                flights.arrived(&key, memory.clock.sleep(memory.patience)).await;
                memory.remove(&key);
            }));
        }
    }

    fn remove(&self, key: &str) {
        // A store in the process does not fail.
        let _: Result<bool> = self.store.delete(key);
    }

    /// Returns the counters of an alias that bypassed this many keys.
    pub(super) fn stats(&self, bypassed: u64) -> BusStats {
        BusStats {
            invalidations: self.invalidations.load(SeqCst),
            resets: self.resets.load(SeqCst),
            pending: self.outbox.len() as u64,
            bypassed,
            is_bypassed: !self.is_open(),
        }
    }
}

impl fmt::Debug for BusMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusMemory")
            .field("store", &self.store)
            .field("server", &self.server.name())
            .field("is_bypassed", &!self.is_open())
            .finish_non_exhaustive()
    }
}
