//! The typed handle of one alias, which services call.

mod background_delete;
mod batch;
mod blocking;
mod builder;
mod call;
mod clear;
mod counter;
mod fail_open;
mod failures;
mod fetch;
mod get_or_set;
mod kept_objects;
mod key_state;
mod keyspace;
mod load;
mod load_write;
mod lock;
mod many;
mod markers;
mod memo;
mod namespace;
mod objects;
mod on_outage;
mod pending_delete;
mod read;
mod remove;
mod revision;
mod subspace;
mod tags;
mod tries;
mod update;
mod values;
mod version;
mod write;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

pub use self::{
    blocking::BlockingCache,
    builder::CacheBuilder,
    failures::{Failed, Failures},
    fetch::{ArcFetch, Fetch},
    lock::{BlockingLock, Lock, LockRequest},
    on_outage::OnOutage,
};
use self::{
    call::{call, call_leader, call_write, enter, enter_write, put_aside},
    kept_objects::KeptObjects,
    subspace::Subspace,
};
pub(crate) use self::{
    fetch::{As, ByArc, ByValue, on_a_thread},
    key_state::KeyState,
    write::ToWrite,
};
use crate::consistency::update_queue::UpdateQueue;
use crate::{
    consistency::{Peers, markers::Markers, tag_set::TagSet, tombstones::Tombstones},
    error::{Error, Result},
    fetch::{
        FetchState,
        singleflight::{Singleflight, WriteGuard},
    },
    key::{FullKey, KeyHead, KeyRules, Namespace},
    layer::{Breaker, InMemory, Operation, rounds},
    runtime::{Clock, PerProcess},
    store::{Backend, SyncBackend},
    telemetry::{Stats, observer::Observer, stats::Counters},
    timeout::{Expiry, IntoTimeout, Timeout},
    value::{Form, Pipeline, Typed},
};

/// A handle to one cache: Django's low-level cache API with Rust types.
///
/// Clones are cheap and share all state. A handle can be used from any thread or task. A program
/// gets its handles from [`cache()`](crate::cache()) and [`CACHES`](crate::CACHES), from an owned
/// [`Caches`](crate::Caches), or from [`Cache::new`] for a store without settings.
///
/// A value is any type that serde can serialize and deserialize. [`bytes`](Self::bytes) returns a
/// handle whose values are bytes, with the same operations; its type is `Cache<Bytes>`.
///
/// A [`Timeout`] is a duration, [`Timeout::Default`] for the default of the alias, or
/// [`Timeout::Never`].
///
/// # When the store fails
/// The cache is an optional accelerator. With `fail_open` (the default), reads of a failed store
/// return no entry, and writes have no effect. [`stats`](Self::stats) counts these calls, and
/// [`telemetry`](crate::telemetry) describes the log.
///
/// Calls whose answer could be wrong always return the error: `add`, `replace`, `pop`, `update`,
/// `upsert`, `set_revision`, `delete_revision`, `incr`, `decr`, `incr_or`, `incr_version`,
/// `decr_version`, `lock`, `try_lock`, `invalidate_tags`, `expire_tags`, `clear`, `clear_store`,
/// `check` and `close`. [`OnOutage`] replaces this error by an answer of the caller.
/// [`strict`](Self::strict) returns a handle that returns every error.
///
/// After an error of kind `TimedOut`, and after a future was dropped, the outcome of a write is
/// unknown: an `incr` may have counted.
///
/// # Errors
/// The methods list the kinds that are special to them. *Store errors* are the kinds `Unavailable`,
/// `TimedOut` and `Backend`, which [fail open](crate::ErrorKind::fails_open). Other kinds are
/// always returned, except `Codec` and `WrongType` of reads, which are misses outside of strict
/// mode. Every call with a key returns `InvalidKey` if the key breaks the rules for keys. Every
/// call returns `Runtime` if the store needs a tokio runtime that the caller does not have,
/// `Config` if the settings prove invalid at the first connection, and `Unsupported` if the store
/// or the platform lacks the operation.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{Cache, secs};
/// use cache_memory::Memory;
///
/// let cache = Cache::new("test", Memory::new());
/// cache.set("greeting", "hello", secs(60)).await?;
/// assert_eq!(cache.get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cache<V: Form = Typed> {
    shared: Arc<Shared>,
    head: KeyHead,
    version: i64,
    /// The namespace of the keys of this handle.
    subspace: Option<Arc<Subspace>>,
    strict: bool,
    /// Calls run on the runtime of the library, because the caller has no runtime.
    on_own_runtime: bool,
    /// The tags of what this handle stores.
    tags: Option<Arc<TagSet>>,
    form: PhantomData<V>,
}

/// The state that all handles of an alias share.
struct Shared {
    alias: Box<str>,
    backend: Arc<dyn Backend>,
    /// Set if the store never waits: then no future is boxed.
    sync: Option<Arc<dyn SyncBackend>>,
    /// Whether another process, or an earlier one, may have written entries of the store.
    has_other_writers: bool,
    /// The store for callers without a runtime.
    on_own_runtime: Arc<dyn Backend>,
    /// The part of the stores that is in memory, if they wait for servers.
    in_memory: Option<InMemory>,
    /// The decoded values that the near tier or the store keeps.
    objects: Option<KeptObjects>,
    /// Both stores for reads that must not be stale. If the reads of a store are never stale, these
    /// are the same store again, so that no call has to check.
    leader: Arc<dyn Backend>,
    leader_on_own_runtime: Arc<dyn Backend>,
    namespace: Namespace,
    keys: KeyRules,
    timeout: Timeout,
    values: Pipeline,
    fail_open: bool,
    /// The circuit breaker of a store with one server.
    breaker: Option<Arc<Breaker>>,
    /// The maximum duration of a write in progress.
    write_patience: Duration,
    /// How long a write of one key counts as in progress, computed once for all calls.
    write_claim: Duration,
    /// Whether a delete that must tell values from marks takes the entry, in one step. Its answer
    /// would be lost if the call is repeated, and the entry would stay if it is not published.
    takes_to_delete: bool,
    fetch: FetchState,
    clock: Clock,
    flights: Arc<Singleflight>,
    tombstones: Arc<Tombstones>,
    updates: Arc<UpdateQueue>,
    /// The random number by which this process knows its own leases.
    lease_owner: Arc<PerProcess<u64>>,
    markers: Arc<Markers>,
    peers: Arc<Peers>,
    tag_staleness: Duration,
    counters: Counters,
    observer: Observer,
}

impl<V: Form> Cache<V> {
    /// Returns the alias in the settings.
    pub fn alias(&self) -> &str {
        &self.shared.alias
    }

    /// Returns the version of the keys of this handle.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Returns the store with its layers, for operations that this API does not offer.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// Returns the clock of this cache: the machine's, or that of a test. Code over a cache that
    /// measures time uses it, so that a single clock moves both.
    ///
    /// ```
    /// use cache_core::{Cache, testing::FakeClock};
    /// use cache_memory::Memory;
    ///
    /// let fake = FakeClock::new();
    /// let cache = Cache::builder(Memory::new()).clock(fake.clock()).build("test")?;
    /// assert_eq!(cache.clock().wall(), fake.clock().wall());
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Returns the keys of this alias, in all versions and namespaces.
    pub fn alias_keys(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// Returns a handle to the same cache under another key version. The entries of each version
    /// are separate.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// let cache = Cache::new("test", Memory::new());
    /// cache.at_version(2).set("k", "two", Timeout::Default).await?;
    /// assert_eq!(cache.get::<String>("k").await?, None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn at_version(&self, version: i64) -> Self {
        Self { head: self.head_of(version), version, ..self.clone() }
    }

    /// Returns a handle to the same cache that returns every error, also if `fail_open` is set.
    #[must_use]
    pub fn strict(&self) -> Self {
        Self { strict: true, ..self.clone() }
    }

    /// Returns whether both handles belong to the same cache, in any version and namespace.
    pub fn is_same<W: Form>(&self, other: &Cache<W>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns the counters of this cache since it was built.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let breaker = shared.breaker.as_ref().map(|it| it.state());
        let refreshes = shared.fetch.active_refreshes();
        let (tombstones, loads) = (shared.tombstones.len(), shared.flights.loads());
        let mut stats = shared.counters.read(tombstones, loads, refreshes, breaker);
        match &shared.in_memory {
            Some(InMemory::Near(it)) => stats.near = Some(it.stats()),
            Some(InMemory::Bus(it)) => stats.bus = Some(it.stats()),
            None => {}
        }
        stats
    }

    /// Connects if necessary, and checks that the store serves requests. This call has no deadline.
    ///
    /// # Errors
    /// Never fails open.
    ///
    /// # Cancel safety
    /// A dropped future does not change any entry.
    pub async fn check(&self) -> Result<()> {
        self.answer(Operation::Check, None, call!(self.check()))
    }

    /// Ends the loads that run in the background, flushes pending data and closes the connections.
    /// Repeated calls are allowed. A later call of
    /// another method connects again.
    ///
    /// # Errors
    /// Never fails open.
    ///
    /// # Cancel safety
    /// If the future is dropped, some connections may stay open. A second call closes them.
    pub async fn close(&self) -> Result<()> {
        self.end_refreshes().await;
        self.answer(Operation::Close, None, call!(self.close()))
    }

    /// Returns the part of the store that is in memory, if the store waits for servers.
    pub(crate) fn in_memory(&self) -> Option<&InMemory> {
        self.shared.in_memory.as_ref()
    }

    /// Returns whether calls never wait, because the store is in this process.
    #[cfg(feature = "macros")]
    pub(crate) fn never_waits(&self) -> bool {
        self.shared.sync.is_some()
    }

    /// Returns whether values may have tags and a grace, and whether loads may be fenced.
    #[cfg(feature = "macros")]
    pub(crate) fn allows(&self) -> (bool, bool, bool) {
        let fetch = &self.shared.fetch;
        (fetch.tags, fetch.allowed().grace, fetch.allowed().fenced)
    }

    fn store(&self) -> &dyn Backend {
        if self.on_own_runtime { &*self.shared.on_own_runtime } else { &*self.shared.backend }
    }

    fn leader(&self) -> &dyn Backend {
        if self.on_own_runtime { &*self.shared.leader_on_own_runtime } else { &*self.shared.leader }
    }

    /// Writes the stored key into `full`. [`key`](Self::key) would copy the 232 bytes of its
    /// result.
    #[inline]
    fn write_key(&self, operation: Operation, key: &str, full: &mut FullKey) -> Result<()> {
        self.head.key(&self.shared.keys, key, full).map_err(|error| self.refuse(operation, error))
    }

    /// Returns whether a read is a plain `get` of the store: no key has a tombstone, the cache has
    /// no entries beside plain values, and no scope remembers the answer.
    #[inline]
    fn is_plain(&self) -> bool {
        self.shared.tombstones.len() == 0 && !self.shared.fetch.has_entries && !self.is_memoized()
    }

    #[inline]
    fn key(&self, operation: Operation, key: &str) -> Result<FullKey> {
        let mut full = FullKey::new();
        self.write_key(operation, key, &mut full).map(|()| full)
    }

    fn expiry(&self, timeout: impl IntoTimeout) -> Option<Expiry> {
        let expiry = timeout.into_timeout().resolve(self.shared.timeout, &self.shared.clock);
        if let Some(expiry) = expiry {
            self.shared.tombstones.note_lifetime(expiry);
        }
        expiry
    }

    /// Waits until a write in progress must have arrived.
    fn write_patience(&self) -> impl Future<Output = ()> + Send + '_ {
        self.shared.clock.sleep(self.shared.write_patience)
    }

    /// Returns how long a write of `keys` keys counts as in progress. This is twice what the
    /// deadlines allow, because the write may first wait for a loaded value, and so that only a
    /// future that is not polled exceeds it.
    fn write_claim(&self, keys: usize) -> Duration {
        self.batch_claim(keys, 0)
    }

    /// As [`write_claim`](Self::write_claim), for values of `bytes` bytes in total.
    fn batch_claim(&self, keys: usize, bytes: usize) -> Duration {
        claim(self.shared.write_patience, keys, bytes)
    }

    /// Begins a write of `key`: a load that began before the end of the write cannot overwrite the
    /// key.
    async fn before_write<'a>(&'a self, key: &'a str) -> WriteGuard<'a> {
        self.shared.tombstones.begin_write(key, self.shared.write_claim);
        let mut writing = self.shared.flights.begin_write(key, self.shared.write_claim);
        if self.shared.flights.active() > 0 {
            writing.expire_after(self.shared.write_claim);
            // Boxed because it is rare: it would enlarge the future of every write.
            Box::pin(self.shared.flights.detach(key, self.write_patience())).await;
        }
        writing
    }

    fn hides_failures(&self) -> bool {
        self.shared.fail_open && !self.strict
    }

    fn in_context(&self, error: Error, operation: Operation, key: Option<&str>) -> Error {
        let error = error
            .with_context("alias", self.alias())
            .with_context("backend", self.shared.backend.name())
            .with_context("operation", operation.as_str());
        match key {
            Some(key) => error.with_context("key", key),
            None => error,
        }
    }
}

fn claim(write_patience: Duration, keys: usize, bytes: usize) -> Duration {
    let rounds = rounds(keys, bytes).saturating_add(1);
    write_patience.saturating_mul(rounds).saturating_mul(2)
}

impl<V: Form> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("alias", &self.alias())
            .field("backend", &self.shared.backend.name())
            .field("key_prefix", &self.shared.namespace.prefix())
            .field("version", &self.version)
            .field("namespace", &self.subspace.as_ref().map(|it| it.path()))
            .finish_non_exhaustive()
    }
}
