//! What a test of the suite works with.

use std::{
    fmt::Display,
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    panic,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cache_core::{
    Backend, Cache, CacheBuilder, Capabilities, Clock, Expiry, Namespace, Result, SetMode, Ttl,
    testing::FakeClock,
    timeout::{Expiry, Ttl},
};
use tokio::sync::Barrier;

use crate::{Harness, runner::Stop};

/// A lifetime that no test outlives.
pub(crate) const LONG: Expiry = Expiry::After(LONG_TIME);
pub(crate) const LONG_TIME: Duration = Duration::from_secs(600);

pub(crate) struct Ctx {
    pub(crate) store: Arc<dyn Backend>,
    open: Arc<dyn Fn() -> Arc<dyn Backend> + Send + Sync>,
    configure: Arc<dyn Fn(CacheBuilder) -> CacheBuilder + Send + Sync>,
    clock: Option<FakeClock>,
    pub(crate) facts: Capabilities,
    prefix: String,
    /// What to remove at the end, besides the namespace.
    litter: Mutex<Litter>,
}

#[derive(Default)]
struct Litter {
    namespaces: Vec<Namespace>,
    keys: Vec<String>,
}

/// When something was done, by the clock that the store follows.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Duration);

/// Longer than any call takes, and than any test moves the time.
const AGES: Duration = Duration::from_secs(1 << 40);

impl Ctx {
    pub(crate) fn new(harness: &Harness, run_id: &str, test: &str) -> Self {
        let store = (harness.open)();
        Self {
            facts: store.capabilities(),
            store,
            open: Arc::clone(&harness.open),
            configure: Arc::clone(&harness.configure),
            clock: harness.clock.clone(),
            prefix: format!("{run_id}-{test}"),
            litter: Mutex::default(),
        }
    }

    /// The `key_prefix` of this test alone.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key of this test alone, in the form that the facade makes.
    pub(crate) fn key(&self, name: impl Display) -> String {
        format!("{}:1:{name}", self.prefix)
    }

    pub(crate) fn keys(&self, count: usize) -> Vec<String> {
        (0..count).map(|it| self.key(it)).collect()
    }

    /// What makes a cache over the test's store, in the test's namespace.
    pub(crate) fn builder(&self) -> CacheBuilder {
        // Slow machines are slow, not wrong: what hangs ends with the patience that the harness has for the test. And a call that
        // is on its way when a test moves the time by days must not end at its deadline.
        let mut builder = Cache::builder(Arc::clone(&self.store)).deadline(AGES);
        if let Some(clock) = &self.clock {
            builder = builder.clock(clock.clock());
        }
        (self.configure)(builder).key_prefix(&self.prefix)
    }

    /// A cache over the test's store, in the test's namespace.
    pub(crate) fn cache(&self) -> Cache {
        self.builder().build("conformance").expect("the suite's settings are good")
    }

    /// Caches that share the store alone, as those of several processes do. Real time passes for them: their waits end by themselves.
    pub(crate) fn processes<const N: usize>(&self) -> [Cache; N] {
        let build = || self.builder().clock(Clock::default()).build("conformance");
        [(); N].map(|()| build().expect("the suite's settings are good"))
    }

    /// A namespace that is not the test's own, but is removed like it.
    pub(crate) fn namespace(&self, prefix: &str) -> Namespace {
        let res = Namespace::new(prefix).expect("the suite's prefixes are good");
        self.litter().namespaces.push(res.clone());
        res
    }

    /// A key outside all namespaces of the test, which is removed as well.
    pub(crate) fn foreign(&self, key: impl Into<String>) -> String {
        let key = key.into();
        self.litter().keys.push(key.clone());
        key
    }

    /// Another handle on the same store, or the same handle if the store cannot have two.
    pub(crate) fn another_handle(&self) -> Arc<dyn Backend> {
        if self.facts.shared { (self.open)() } else { Arc::clone(&self.store) }
    }

    /// Stores a value for long.
    pub(crate) async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.put_for(key, value, LONG).await
    }

    pub(crate) async fn put_for(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        expiry: Expiry,
    ) -> Result<()> {
        let wrote = self.store.set(key, value.into(), expiry, SetMode::Always).await?;
        assert!(wrote, "`set` in mode `Always` answered that it did not write {key}");
        Ok(())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.store.get(key).await
    }

    /// Asserts what is stored under a key.
    pub(crate) async fn expect(&self, key: &str, value: Option<&[u8]>, why: &str) -> Result<()> {
        let found = self.get(key).await?;
        assert!(
            found.as_deref() == value,
            "{why}: {key} holds {}, not {}",
            Shown(found.as_deref()),
            Shown(value)
        );
        Ok(())
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(match &self.clock {
            Some(clock) => clock.clock().now(),
            None => cache_core::Clock::system().now(),
        })
    }

    /// The time of the wall, by the clock of [`cache`](Self::cache).
    pub(crate) fn wall(&self) -> SystemTime {
        self.clock.as_ref().map_or_else(SystemTime::now, |it| it.clock().wall())
    }

    pub(crate) fn since(&self, moment: Moment) -> Duration {
        self.now().0.saturating_sub(moment.0)
    }

    /// The store's clock, where tests can move it.
    pub(crate) fn clock(&self) -> Option<FakeClock> {
        self.clock.clone()
    }

    /// Whether time passes only when a test says so.
    pub(crate) fn moves_time(&self) -> bool {
        self.clock.is_some()
    }

    pub(crate) async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            // sleeps: this store follows a clock that tests cannot move.
            None => tokio::time::sleep(time).await,
        }
    }

    /// A lifetime that tests can afford to outlive.
    pub(crate) fn short(&self) -> Expiry {
        Expiry::After(self.short_time())
    }

    pub(crate) fn short_time(&self) -> Duration {
        if self.moves_time() { Duration::from_secs(5) } else { Duration::from_millis(200) }
    }

    /// How far a server's clock may be behind when it reads it once for several commands, and is kept from running in between.
    pub(crate) fn haste(&self) -> Duration {
        if self.facts.shared { Duration::from_millis(100) } else { Duration::ZERO }
    }

    /// How much longer an entry may live than asked.
    pub(crate) fn granularity(&self) -> Duration {
        self.facts.granularity.max(Duration::from_millis(1))
    }

    /// Lets a short lifetime end, whatever the store rounds it to.
    pub(crate) async fn outlive_short(&self) {
        self.outlive(self.short_time()).await;
    }

    pub(crate) async fn outlive(&self, lifetime: Duration) {
        // Real clocks are read with some delay.
        let delay = if self.moves_time() { Duration::ZERO } else { Duration::from_millis(100) };
        self.pass(lifetime + self.granularity() + delay).await;
    }

    /// Stores a value whose life has ended when this returns.
    pub(crate) async fn put_expired(&self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.put_for(key, value, self.short()).await?;
        self.outlive_short().await;
        Ok(())
    }

    /// Asserts that of a life that was asked for at `start` what must remain does remain.
    pub(crate) fn assert_remains(
        &self,
        ttl: Option<Ttl>,
        asked: Duration,
        start: Moment,
        why: &str,
    ) {
        let Some(Ttl::Remaining(left)) = ttl else {
            panic!("{why}: the entry was to live {asked:?}, its ttl is {ttl:?}")
        };
        // What is reported may be rounded either way by a step.
        let least = asked.saturating_sub(self.since(start) + self.granularity() + self.haste());
        let most = asked + self.granularity();
        assert!(
            least <= left && left <= most,
            "{why}: asked for {asked:?}, {left:?} is left, not {least:?} to {most:?}"
        );
    }

    /// [`assert_remains`](Self::assert_remains) of the entry under `key`.
    pub(crate) async fn expect_life(
        &self,
        key: &str,
        asked: Expiry,
        start: Moment,
        why: &str,
    ) -> Result<()> {
        let ttl = self.store.ttl(key).await?;
        match asked {
            Expiry::Never => assert_eq!(ttl, Some(Ttl::Forever), "{why}"),
            Expiry::After(time) => self.assert_remains(ttl, time, start, why),
        }
        Ok(())
    }

    /// Runs `tasks` tasks that begin at the same moment, on two handles if the store can have two.
    pub(crate) async fn race<T, F>(
        &self,
        tasks: usize,
        run: impl Fn(usize, Arc<dyn Backend>) -> F,
    ) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let barrier = Arc::new(Barrier::new(tasks));
        let other = self.another_handle();
        let tasks: Vec<_> = (0..tasks)
            .map(|n| {
                let store = if n % 2 == 0 { &self.store } else { &other };
                let (run, barrier) = (run(n, Arc::clone(store)), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    run.await
                })
            })
            .collect();
        let mut res = Vec::with_capacity(tasks.len());
        for task in tasks {
            res.push(task.await.unwrap_or_else(|err| panic::resume_unwind(err.into_panic())));
        }
        res
    }

    pub(crate) async fn clean_up(&self) {
        let Litter { mut namespaces, keys } = std::mem::take(&mut *self.litter());
        namespaces.extend(Namespace::new(&self.prefix));
        // Whether it can be done is the matter of other tests.
        for namespace in &namespaces {
            let _ = self.store.clear(namespace).await;
        }
        if !keys.is_empty() {
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            let _ = self.store.delete_many(&keys).await;
        }
    }

    fn litter(&self) -> std::sync::MutexGuard<'_, Litter> {
        self.litter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins the keys of one run, so that runs at the same time on the same server do not meet.
pub(crate) fn random_id() -> String {
    // The one source of randomness in the standard library.
    format!("cc{:08x}", RandomState::new().build_hasher().finish() >> 32)
}

/// A test that finds nothing to look at.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

pub(crate) fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Bytes for a message: not all of a megabyte.
pub(crate) struct Shown<'a>(pub(crate) Option<&'a [u8]>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("nothing"),
            Some(it) if it.len() <= 64 => write!(f, "\"{}\"", it.escape_ascii()),
            Some(it) => write!(f, "{} bytes, \"{}\"...", it.len(), it[..32].escape_ascii()),
        }
    }
}
