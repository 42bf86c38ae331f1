//! The typed face of one alias: what a service calls.

mod background_delete;
mod batch;
mod blocking;
mod builder;
mod counter;
mod fail_open;
mod load;
mod many;
mod on_outage;
mod pending_delete;
mod read;
mod remove;
mod update;
mod version;
mod write;

use std::{fmt, sync::Arc, time::Duration};

pub(crate) use self::builder::KeyState;
pub use self::{
    blocking::BlockingCache,
    builder::CacheBuilder,
    many::{Failed, Failures},
    on_outage::OnOutage,
};
use crate::consistency::update_queue::UpdateQueue;
use crate::{
    consistency::tombstones::Tombstones,
    error::{Error, ErrorKind, Result},
    fetch::singleflight::{Singleflight, WriteGuard},
    key::{FullKey, KeyHead, KeyRules, Namespace},
    layer::{Breaker, Operation, rounds},
    runtime::Clock,
    store::{Backend, IntoBackend, SyncBackend},
    telemetry::{Stats, observer::Observer, stats::Counters},
    timeout::{Expiry, IntoTimeout, Timeout},
    value::Codec,
};

/// A handle on one cache: Django's low-level cache API, with Rust types.
///
/// Clones are cheap and share everything; a handle can be used from any thread or task. Where handles come from:
/// [`cache()`](crate::cache()) and [`CACHES`](crate::CACHES) for a program's own, [`Caches`](crate::Caches) for owned
/// ones, and [`Cache::new`] for a store without settings.
///
/// Values are whatever serde can write and read. [`Timeout`]s are durations, `None` for the alias's default,
/// or [`Timeout::Never`].
///
/// # When the store fails
/// The cache is an optional accelerator: with `fail_open` (the default) a store that is down reads as empty, and writes have no
/// effect; [`stats`](Self::stats) counts it, [`telemetry`](crate::telemetry) says where it is logged. The calls whose answer would be a lie then return the error all the same:
/// `add`, `replace`, `pop`, `update`, `upsert`, `incr`, `decr`, `incr_or`, `incr_version`, `decr_version`, `clear`, `clear_store`,
/// `check` and `close`. [`OnOutage`](crate::OnOutage) replaces that error by an answer of the caller's. [`strict`](Self::strict) gives a handle that returns every error.
/// What the caller did wrong (an invalid key, a value too large) is always returned.
///
/// After an error `TimedOut`, or when a future is dropped, the outcome of a write is unknown: an `incr` may have counted.
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
pub struct Cache {
    shared: Arc<Shared>,
    head: KeyHead,
    version: i64,
    strict: bool,
    /// Calls are made inside the library's own runtime: the caller has none.
    on_own_runtime: bool,
}

/// What all handles of an alias have in common.
struct Shared {
    alias: Box<str>,
    backend: Arc<dyn Backend>,
    /// Set if no call can wait: then no future is boxed.
    sync: Option<Arc<dyn SyncBackend>>,
    /// For callers without a runtime.
    on_own_runtime: Arc<dyn Backend>,
    /// The same two, for reads that must not be stale. A store whose reads never are is there twice, so that no call has to
    /// look which it is.
    leader: Arc<dyn Backend>,
    leader_on_own_runtime: Arc<dyn Backend>,
    namespace: Namespace,
    keys: KeyRules,
    timeout: Timeout,
    codec: Codec,
    fail_open: bool,
    /// Of a store that is one server.
    breaker: Option<Arc<Breaker>>,
    /// The longest that a write may be on its way.
    write_patience: Duration,
    load_deadline: Duration,
    clock: Clock,
    flights: Arc<Singleflight>,
    tombstones: Arc<Tombstones>,
    updates: Arc<UpdateQueue>,
    counters: Counters,
    observer: Observer,
}

/// Calls the store, without a future if it can be.
macro_rules! call {
    ($cache:ident.$method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => $cache.store().$method($($arg),*).await,
        }
    };
}
use call;

/// [`call`] of a write under this claim.
macro_rules! call_write {
    ($cache:ident, $writing:ident, $method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => match $writing.run($cache.store().$method($($arg),*)).await {
                Some(res) => res,
                None => Err(put_aside()),
            },
        }
    };
}
use call_write;

/// The error of a write whose future was not polled for longer than a write may take.
#[cold]
fn put_aside() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "the future of this write was not polled for longer than a write may take; it may have had its effect",
    )
    .ignored_by_breaker()
}

/// [`call`] of a read that must not be stale.
macro_rules! call_leader {
    ($cache:ident.$method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => $cache.leader().$method($($arg),*).await,
        }
    };
}
use call_leader;

impl Cache {
    /// A cache over a store, with the defaults of the settings: for tests, and for programs without a settings file.
    ///
    /// ```
    /// # use cache_core::Cache; use cache_memory::Memory;
    /// let cache = Cache::new("test", Memory::new());
    /// assert_eq!(cache.alias(), "test");
    /// ```
    pub fn new(alias: &str, store: impl IntoBackend) -> Self {
        Self::builder(store).build_unchecked(alias)
    }

    /// A cache over a store with other settings.
    ///
    /// ```
    /// # use cache_core::{Cache, secs, store::Inline}; use cache_memory::Memory; use std::sync::Arc;
    /// let store = Arc::new(Inline::new(Memory::new()));
    /// let cache = Cache::builder(store).key_prefix("shop").timeout(secs(60)).build("test")?;
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn builder(store: impl IntoBackend) -> CacheBuilder {
        CacheBuilder::new(store.into_backend())
    }

    /// The alias in the settings.
    pub fn alias(&self) -> &str {
        &self.shared.alias
    }

    /// The version of this handle's keys.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The store, with the layers around it, for what this API does not offer.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// The keys that belong to this alias, in every version.
    pub fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// The same cache under another version of keys: its entries are others.
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
        let head = KeyHead::new(&self.shared.namespace, version);
        Self { head, version, ..self.clone() }
    }

    /// The same cache with every error returned, whatever `fail_open` says.
    #[must_use]
    pub fn strict(&self) -> Self {
        Self { strict: true, ..self.clone() }
    }

    /// Whether two handles are of the same cache, whatever their version.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// What this cache has done since it was built.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let breaker = shared.breaker.as_ref().map(|it| it.state());
        shared.counters.read(shared.tombstones.len(), shared.flights.loads(), breaker)
    }

    /// Removes every entry of this alias, in all versions, and what the library stored for it; nothing else in the
    /// same store. Never fails open: an error means that entries may be left. There is no deadline.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # let caches = cache_core::Caches::builder().driver(cache_memory::DRIVER).toml(r#"
    /// [caches.default]
    /// backend = "memory"
    /// location = "main"
    /// key_prefix = "shop"
    /// [caches.eu]
    /// backend = "memory"
    /// location = "main"
    /// key_prefix = "shop:eu"
    /// # "#)?.build()?;
    /// let (shop, eu) = (caches.get("default")?, caches.get("eu")?);
    /// shop.set("k", &1, cache_core::Timeout::Default).await?;
    /// eu.set("k", &2, cache_core::Timeout::Default).await?;
    /// shop.clear().await?;
    /// assert_eq!(shop.get::<i32>("k").await?, None);
    /// assert_eq!(eu.get::<i32>("k").await?, Some(2));
    /// # Ok(()) }
    /// ```
    pub async fn clear(&self) -> Result<()> {
        self.shared.flights.detach_all(self.write_patience()).await;
        let moment = self.shared.tombstones.moment();
        let res = call!(self.clear(&self.shared.namespace));
        self.shared.flights.detach_all(self.write_patience()).await;
        if res.is_ok() {
            self.shared.tombstones.remove_all(moment);
        }
        self.answer(Operation::Clear, None, res)
    }

    /// Removes everything in the store, other aliases' and foreign entries too. Never fails open.
    pub async fn clear_store(&self) -> Result<()> {
        self.shared.flights.detach_all(self.write_patience()).await;
        let moment = self.shared.tombstones.moment();
        let res = call!(self.clear_store());
        self.shared.flights.detach_all(self.write_patience()).await;
        if res.is_ok() {
            self.shared.tombstones.remove_all(moment);
        }
        self.answer(Operation::ClearStore, None, res)
    }

    /// Connects, if need be, and asks the store whether it serves. Never fails open.
    pub async fn check(&self) -> Result<()> {
        self.answer(Operation::Check, None, call!(self.check()))
    }

    /// Flushes and disconnects. May be called again; a later call of another method connects again. Never fails open.
    pub async fn close(&self) -> Result<()> {
        self.answer(Operation::Close, None, call!(self.close()))
    }

    fn store(&self) -> &dyn Backend {
        if self.on_own_runtime { &*self.shared.on_own_runtime } else { &*self.shared.backend }
    }

    fn leader(&self) -> &dyn Backend {
        if self.on_own_runtime { &*self.shared.leader_on_own_runtime } else { &*self.shared.leader }
    }

    /// [`key`](Self::key) in its place: a returned one would be copied, 232 bytes that were just written in pieces.
    #[inline]
    fn write_key(&self, operation: Operation, key: &str, full: &mut FullKey) -> Result<()> {
        self.head.key(&self.shared.keys, key, full).map_err(|error| self.refuse(operation, error))
    }

    /// Returns the store, if a read cannot wait: the store never waits, and no key has a tombstone.
    #[inline]
    fn plain(&self) -> Option<&dyn SyncBackend> {
        if self.shared.tombstones.len() > 0 { None } else { self.shared.sync.as_deref() }
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

    /// Ends when a write that is on its way must have arrived.
    fn write_patience(&self) -> impl Future<Output = ()> + Send + '_ {
        self.shared.clock.sleep(self.shared.write_patience)
    }

    /// How long a write of so many keys counts as under way: twice what the deadlines allow, as it may wait for a loaded value before, and so that
    /// only a future that nobody polls gets there.
    fn write_claim(&self, keys: usize) -> Duration {
        self.batch_claim(keys, 0)
    }

    /// As [`write_claim`](Self::write_claim), for values of so many bytes.
    fn batch_claim(&self, keys: usize, bytes: usize) -> Duration {
        let rounds = rounds(keys, bytes).saturating_add(1);
        self.shared.write_patience.saturating_mul(rounds).saturating_mul(2)
    }

    /// Before a write of `key`: no load that began before its end may overwrite it.
    async fn before_write<'a>(&'a self, key: &'a str) -> WriteGuard<'a> {
        let mut writing = self.shared.flights.begin_write(key, self.write_claim(1));
        if self.shared.flights.active() > 0 {
            writing.expire_after(self.write_claim(1));
            // Boxed, as all that is rare: the future of every write would be larger by it.
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

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("alias", &self.alias())
            .field("backend", &self.shared.backend.name())
            .field("key_prefix", &self.shared.namespace.prefix())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
