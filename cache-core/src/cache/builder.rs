mod settings;

use std::{fmt, marker::PhantomData, sync::Arc};

use super::{Cache, KeptObjects, KeyState, Shared, claim};
use crate::{
    bus::BusMemories,
    config::{ByteSize, CacheSettings, Location, Period, registry::Registry},
    error::Result,
    fetch::{FetchSettings, FetchState},
    key::{KeyFunction, KeyHead, KeyRules, LongKeys, Namespace},
    layer::{BreakerSettings, BuiltStore, InMemory, Layered, OwnRuntime, RetrySettings},
    near::{NearSettings, Tiers},
    runtime::Clock,
    store::{Backend, IntoBackend},
    telemetry::{observer::Observer, stats::Counters},
    timeout::IntoTimeout,
    value::{Codec, Compression},
};

/// A builder of a [`Cache`] over an existing store. Its settings are the settings of a settings
/// file.
pub struct CacheBuilder {
    backend: Arc<dyn Backend>,
    /// The same store with its layers, if it was built for this alias.
    built: Option<BuiltStore>,
    settings: CacheSettings,
    key_function: Option<KeyFunction>,
    clock: Clock,
    state: Option<KeyState>,
    stderr_notice: bool,
}

impl Cache {
    /// Creates a cache over a store, with the default settings. This is for tests, and for programs
    /// without a settings file.
    ///
    /// ```
    /// # use cache_core::Cache; use cache_memory::Memory;
    /// let cache = Cache::new("test", Memory::new());
    /// assert_eq!(cache.alias(), "test");
    /// ```
    pub fn new(alias: &str, store: impl IntoBackend) -> Self {
        Self::builder(store).build_unchecked(alias)
    }

    /// Returns a builder of a cache over a store, with other settings.
    ///
    /// ```
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// let store = Memory::new();
    /// let cache = Cache::builder(store).key_prefix("shop").timeout(secs(60)).build("test")?;
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn builder(store: impl IntoBackend) -> CacheBuilder {
        CacheBuilder::new(store.into_backend())
    }
}

impl CacheBuilder {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        let settings = CacheSettings::new(backend.name());
        Self {
            backend,
            built: None,
            settings,
            key_function: None,
            clock: Clock::system(),
            state: None,
            stderr_notice: true,
        }
    }

    /// Returns a builder over a store that has its layers.
    pub(crate) fn over(store: BuiltStore) -> Self {
        let backend = Arc::clone(&store.backend);
        Self { built: Some(store), ..Self::new(backend) }
    }

    /// Sets all settings at once, except `backend`, `location` and `options`, which do not apply to
    /// an existing store.
    #[must_use]
    pub fn settings(mut self, settings: CacheSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the key prefix: see [`CacheSettings::key_prefix`].
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.key_prefix = prefix.into();
        self
    }

    /// Sets the key version: see [`CacheSettings::version`].
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.settings.version = version;
        self
    }

    /// Sets the default lifetime: see [`CacheSettings::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: impl IntoTimeout) -> Self {
        self.settings.timeout = timeout.into_timeout();
        self
    }

    /// Sets the codec: see [`CacheSettings::codec`].
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.settings.codec = codec;
        self
    }

    /// Sets the codecs whose values are read beside those of `codec`: see [`CacheSettings::read`].
    #[must_use]
    pub fn read(mut self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        self.settings.read = Some(codecs.into_iter().collect());
        self
    }

    /// Sets the compression of values: see [`CacheSettings::compression`].
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// Sets the size from which values are compressed: see [`CacheSettings::compress_from`].
    #[must_use]
    pub fn compress_from(mut self, size: ByteSize) -> Self {
        self.settings.compress_from = Some(size);
        self
    }

    /// Sets whether store errors fail open: see [`CacheSettings::fail_open`].
    #[must_use]
    pub fn fail_open(mut self, yes: bool) -> Self {
        self.settings.fail_open = yes;
        self
    }

    /// Sets whether entries may have a revision: see [`CacheSettings::revisions`].
    #[must_use]
    pub fn revisions(mut self, yes: bool) -> Self {
        self.settings.revisions = yes;
        self
    }

    /// Sets the handling of long and invalid keys: see [`CacheSettings::long_keys`].
    #[must_use]
    pub fn long_keys(mut self, it: LongKeys) -> Self {
        self.settings.long_keys = it;
        self
    }

    /// Sets the deadline of each round trip: see [`CacheSettings::deadline`].
    #[must_use]
    pub fn deadline(mut self, time: impl Into<Period>) -> Self {
        self.settings.deadline = time.into();
        self
    }

    /// Sets the deadline for connecting: see [`CacheSettings::connect_deadline`].
    #[must_use]
    pub fn connect_deadline(mut self, time: impl Into<Period>) -> Self {
        self.settings.connect_deadline = time.into();
        self
    }

    /// Sets when calls are retried: see [`CacheSettings::retry`].
    #[must_use]
    pub fn retry(mut self, settings: RetrySettings) -> Self {
        self.settings.retry = settings;
        self
    }

    /// Configures the circuit breaker: see [`CacheSettings::breaker`].
    #[must_use]
    pub fn breaker(mut self, settings: BreakerSettings) -> Self {
        self.settings.breaker = settings;
        self
    }

    /// Sets the deadline of a load: see [`CacheSettings::load_deadline`].
    #[must_use]
    pub fn load_deadline(mut self, time: impl Into<Period>) -> Self {
        self.settings.load_deadline = time.into();
        self
    }

    /// Sets for how long invalidations by other processes may be unknown: see
    /// [`CacheSettings::tag_staleness`].
    #[must_use]
    pub fn tag_staleness(mut self, time: impl Into<Period>) -> Self {
        self.settings.tag_staleness = time.into();
        self
    }

    /// Sets whether values may have tags: see [`CacheSettings::tags`].
    #[must_use]
    pub fn tags(mut self, yes: bool) -> Self {
        self.settings.tags = yes;
        self
    }

    /// Sets the defaults of fetches, and whether values may have a grace: see
    /// [`CacheSettings::fetch`].
    #[must_use]
    pub fn fetch(mut self, settings: FetchSettings) -> Self {
        self.settings.fetch = settings;
        self
    }

    /// Sets the near tier: see [`CacheSettings::near`]. Its store is the linked driver `memory`.
    ///
    /// ```
    /// use cache_core::{Cache, NearSettings, store::Dummy};
    ///
    /// let builder = Cache::builder(Dummy).near(NearSettings::default());
    /// assert_eq!(builder.build("test")?.stats().near, None, "`dummy` keeps nothing");
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    #[must_use]
    pub fn near(mut self, settings: NearSettings) -> Self {
        self.settings.near = Some(settings);
        self
    }

    /// Sets the bus of a store in the process: see [`CacheSettings::bus`]. A linked driver serves
    /// the URL.
    ///
    /// ```
    /// use cache_core::{Cache, config::Location};
    /// use cache_memory::Memory;
    ///
    /// let builder = Cache::builder(Memory::new()).bus(Location::one("redis://127.0.0.1"));
    /// let error = builder.build("test").unwrap_err().to_string();
    /// assert!(error.contains("add `cache-redis` to Cargo.toml"), "{error}");
    /// ```
    #[must_use]
    pub fn bus(mut self, urls: Location) -> Self {
        self.settings.bus = urls;
        self
    }

    /// Sets a function that changes the part of stored keys after `prefix:version:`. Its result
    /// must obey the rules for keys.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// let store = Memory::new();
    /// let cache = Cache::builder(store).key_function(str::to_lowercase).build("test")?;
    /// cache.set("Key", &1, Timeout::Default).await?;
    /// assert_eq!(cache.get::<i32>("KEY").await?, Some(1));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn key_function(mut self, it: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.key_function = Some(Arc::new(it));
        self
    }

    pub(crate) fn state(mut self, state: KeyState) -> Self {
        self.state = Some(state);
        self
    }

    pub(crate) fn shared_key_function(mut self, it: Option<KeyFunction>) -> Self {
        self.key_function = it;
        self
    }

    /// Sets the clock for wall time and for deadlines. The store has its own clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets whether a failing store is reported on stderr: see
    /// [`CachesBuilder::stderr_notice`](crate::CachesBuilder::stderr_notice).
    #[must_use]
    pub fn stderr_notice(mut self, yes: bool) -> Self {
        self.stderr_notice = yes;
        self
    }

    /// Builds the cache. This does not connect.
    ///
    /// # Errors
    /// `Config` if a setting is invalid.
    pub fn build(mut self, alias: &str) -> Result<Cache> {
        let namespace = self.settings.namespace(alias)?;
        BuiltStore::check(alias, &self.backend, &self.settings)?;
        settings::check(alias, &self.settings)?;
        let has_bus = !self.settings.bus.as_slice().is_empty();
        if self.built.is_none() && (self.settings.near.is_some() || has_bus) {
            let store = self.by_hand(alias);
            let (settings, clock) = (&self.settings, &self.clock);
            let drivers = Registry::linked();
            let store = Tiers::default().put_on(alias, settings, clock, &drivers, store)?;
            let store = BusMemories::default().put_on(alias, settings, clock, &drivers, store)?;
            self.built = Some(store);
        }
        Ok(self.finish(alias, namespace))
    }

    /// Puts the layers around a store that was made in code.
    fn by_hand(&self, alias: &str) -> BuiltStore {
        let observer = Observer::new(alias, &self.clock).stderr_notice(self.stderr_notice);
        let backend = Arc::clone(&self.backend);
        BuiltStore::by_hand(alias, backend, &self.settings, &self.clock, observer)
    }

    /// Builds without checks, because the defaults without a prefix are valid.
    pub(super) fn build_unchecked(self, alias: &str) -> Cache {
        self.finish(alias, Namespace::unprefixed())
    }

    fn finish(mut self, alias: &str, namespace: Namespace) -> Cache {
        let built = self.built.take().unwrap_or_else(|| self.by_hand(alias));
        let BuiltStore { backend, breaker, observer, patience, in_memory } = built;
        let Self { settings, key_function, clock, state, .. } = self;
        let views = Arc::clone(&backend).views();
        let objects = KeptObjects::of(in_memory.as_ref(), &views);
        let sync = views.sync;
        let state = state.unwrap_or_else(|| KeyState::new(sync.is_none(), &clock, &Arc::default()));
        let is_on_bus = matches!(in_memory, Some(InMemory::Bus(_)));
        if let Some(InMemory::Bus(store)) = &in_memory {
            store.attach(|| state.as_peer(), &state.peers);
        }
        if let Some(expiry) = crate::timeout::Timeout::Default.resolve(settings.timeout, &clock) {
            // Other processes have written entries with at least this lifetime.
            state.tombstones.note_lifetime(expiry);
        }
        let fetch = FetchState::new(&settings);
        if let Some(expiry) = fetch.longest(&clock) {
            state.tombstones.note_lifetime(expiry);
        }
        let on_own_runtime: Arc<dyn Backend> =
            Arc::new(Layered::new(Arc::new(OwnRuntime), Arc::clone(&backend)));
        let capabilities = backend.capabilities();
        let shared = Shared {
            alias: alias.into(),
            sync,
            has_other_writers: capabilities.shared || capabilities.persistent,
            write_patience: patience,
            write_claim: claim(patience, 1, 0),
            takes_to_delete: settings.retry.retries == 0 && !is_on_bus,
            leader: leader_of(&backend),
            leader_on_own_runtime: leader_of(&on_own_runtime),
            on_own_runtime,
            values: settings::pipeline(&settings, capabilities.max_value_len),
            backend,
            breaker,
            keys: KeyRules { long_keys: settings.long_keys, function: key_function },
            timeout: settings.timeout,
            fail_open: settings.fail_open,
            fetch,
            clock,
            flights: state.flights,
            tombstones: state.tombstones,
            updates: state.updates,
            lease_owner: state.lease_owner,
            markers: state.markers,
            peers: state.peers,
            tag_staleness: settings.tag_staleness.into(),
            counters: in_memory.as_ref().map_or_else(Counters::new, InMemory::counters),
            in_memory,
            objects,
            observer,
            namespace,
        };
        Cache {
            head: KeyHead::new(&shared.namespace, settings.version),
            version: settings.version,
            shared: Arc::new(shared),
            subspace: None,
            strict: false,
            on_own_runtime: false,
            tags: None,
            form: PhantomData,
        }
    }
}

/// Returns the store for reads that must not be stale, with the same layers: one breaker counts
/// both.
fn leader_of(store: &Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::clone(store).views().leader.unwrap_or_else(|| Arc::clone(store))
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
