//! The store, keys, caches and clock that a test of the suite works with, and its checks.

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
    Cache, CacheBuilder, Clock, Result, Ttl,
    store::{Backend, Capabilities, Expiry, Namespace, SetMode},
    testing::FakeClock,
};
use tokio::sync::Barrier;

use crate::{Harness, stop::Stop};

/// A lifetime longer than any test.
pub(crate) const LONG: Expiry = Expiry::After(LONG_TIME);
pub(crate) const LONG_TIME: Duration = Duration::from_secs(600);

pub(crate) struct Ctx {
    pub(crate) store: Arc<dyn Backend>,
    open: Arc<dyn Fn() -> Arc<dyn Backend> + Send + Sync>,
    configure: Arc<dyn Fn(CacheBuilder) -> CacheBuilder + Send + Sync>,
    clock: Option<FakeClock>,
    pub(crate) capabilities: Capabilities,
    prefix: String,
    leftovers: Mutex<Leftovers>,
}

/// Entries outside the namespace of the test, which the test removes at its end.
#[derive(Default)]
struct Leftovers {
    namespaces: Vec<Namespace>,
    keys: Vec<String>,
}

/// A moment by the clock that the store follows.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Duration);

/// Longer than any call takes, and than any test moves the time.
const AGES: Duration = Duration::from_secs(1 << 40);

impl Ctx {
    pub(crate) fn new(harness: &Harness, run_id: &str, test: &str) -> Self {
        let store = (harness.open)();
        Self {
            capabilities: store.capabilities(),
            store,
            open: Arc::clone(&harness.open),
            configure: Arc::clone(&harness.configure),
            clock: harness.clock.clone(),
            prefix: format!("{run_id}-{test}"),
            leftovers: Mutex::default(),
        }
    }

    /// The `key_prefix` of this test alone.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key of this test alone, in the form of the facade's keys.
    pub(crate) fn key(&self, name: impl Display) -> String {
        format!("{}:1:{name}", self.prefix)
    }

    pub(crate) fn keys(&self, count: usize) -> Vec<String> {
        (0..count).map(|it| self.key(it)).collect()
    }

    /// A builder of a cache over the test's store, in the test's namespace.
    pub(crate) fn builder(&self) -> CacheBuilder {
        // On a slow machine a call may take long: a call that hangs ends with the time limit of the
        // test. A call that is under way when a test moves the clock by days must not reach its
        // deadline either.
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

    /// Caches that share the store and nothing else, as caches of several processes do. They follow
    /// the real clock, so that their waits end without a test that moves the time.
    pub(crate) fn processes<const N: usize>(&self) -> [Cache; N] {
        self.processes_with(|it| it)
    }

    /// [`processes`](Self::processes) with other settings.
    pub(crate) fn processes_with<const N: usize>(
        &self,
        configure: impl Fn(CacheBuilder) -> CacheBuilder,
    ) -> [Cache; N] {
        let build = || configure(self.builder().clock(Clock::default())).build("conformance");
        [(); N].map(|()| build().expect("the suite's settings are good"))
    }

    /// A namespace other than the test's own; its entries are removed at the end of the test.
    pub(crate) fn namespace(&self, prefix: &str) -> Namespace {
        let res = Namespace::new(prefix).expect("the suite's prefixes are good");
        self.leftovers().namespaces.push(res.clone());
        res
    }

    /// A key outside all namespaces of the test; its entry is removed at the end of the test.
    pub(crate) fn foreign(&self, key: impl Into<String>) -> String {
        let key = key.into();
        self.leftovers().keys.push(key.clone());
        key
    }

    /// Another handle on the same store, or the same handle if two handles do not share their
    /// entries.
    pub(crate) fn another_handle(&self) -> Arc<dyn Backend> {
        if self.capabilities.shared { (self.open)() } else { Arc::clone(&self.store) }
    }

    /// Stores a value with the lifetime [`LONG`].
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
        assert!(wrote, "`set` of {key} in mode `Always` returned false, expected true");
        Ok(())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.store.get(key).await
    }

    /// Asserts that `key` holds `value`, or nothing if that is `None`.
    pub(crate) async fn expect(&self, key: &str, value: Option<&[u8]>, why: &str) -> Result<()> {
        let found = self.get(key).await?;
        assert!(
            found.as_deref() == value,
            "{why}: {key} holds {}, expected {}",
            Shown(found.as_deref()),
            Shown(value)
        );
        Ok(())
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(match &self.clock {
            Some(clock) => clock.clock().now(),
            None => Clock::system().now(),
        })
    }

    /// The wall-clock time, by the clock of [`cache`](Self::cache).
    pub(crate) fn wall(&self) -> SystemTime {
        self.clock.as_ref().map_or_else(SystemTime::now, |it| it.clock().wall())
    }

    pub(crate) fn since(&self, moment: Moment) -> Duration {
        self.now().0.saturating_sub(moment.0)
    }

    /// The store's clock, if tests can move it.
    pub(crate) fn clock(&self) -> Option<FakeClock> {
        self.clock.clone()
    }

    /// Whether the store follows a clock that tests move, and only they.
    pub(crate) fn can_move_time(&self) -> bool {
        self.clock.is_some()
    }

    /// Lets time pass for the store: moves its clock, or waits.
    pub(crate) async fn pass(&self, time: Duration) {
        if let Some(clock) = &self.clock {
            return clock.advance(time);
        }
        let clock = Clock::system();
        let until = clock.now() + time;
        // sleeps: this store follows a clock that tests cannot move
        tokio::time::sleep(time).await;
        // Stores and caches may read the coarse clock. After a virtual machine stood still, that
        // clock may be as far behind for some ticks.
        while clock.coarse() < until {
            // sleeps: as above
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A lifetime short enough for a test to wait for its end.
    pub(crate) fn short(&self) -> Expiry {
        Expiry::After(self.short_time())
    }

    pub(crate) fn short_time(&self) -> Duration {
        if self.can_move_time() { Duration::from_secs(5) } else { Duration::from_millis(200) }
    }

    /// How far the time that a server uses may be behind its clock: a server that reads the clock
    /// once for several commands may be interrupted between them.
    pub(crate) fn clock_lag(&self) -> Duration {
        if self.capabilities.shared { Duration::from_millis(100) } else { Duration::ZERO }
    }

    /// How much of a lifetime that began after `start` a store may have counted by now: it may
    /// round down by one step.
    pub(crate) fn counted_since(&self, start: Moment) -> Duration {
        let passed = self.since(start);
        // A near tier counts the duration of its read twice: it counts what the far store returned
        // from the beginning of the read, so that no near entry outlives the far one.
        let in_reads = if self.can_move_time() { Duration::ZERO } else { passed };
        passed + in_reads + self.granularity() + self.clock_lag()
    }

    /// How much longer than its lifetime an entry may live.
    pub(crate) fn granularity(&self) -> Duration {
        self.capabilities.granularity.max(Duration::from_millis(1))
    }

    /// Waits until entries with the lifetime [`short`](Self::short) must have expired, however the
    /// store rounds.
    pub(crate) async fn outlive_short(&self) {
        self.outlive(self.short_time()).await;
    }

    /// Waits until an entry with this lifetime that was written before the call must have expired.
    pub(crate) async fn outlive(&self, lifetime: Duration) {
        // A delay may pass before a real clock is read.
        let delay = if self.can_move_time() { Duration::ZERO } else { Duration::from_millis(100) };
        self.pass(lifetime + self.granularity() + delay).await;
    }

    /// Stores an entry that has expired when the method returns.
    pub(crate) async fn put_expired(&self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.put_for(key, value, self.short()).await?;
        self.outlive_short().await;
        Ok(())
    }

    /// Asserts that `ttl` is what remains of a lifetime that began between `start` and now.
    pub(crate) fn assert_ttl(&self, ttl: Option<Ttl>, asked: Duration, start: Moment, why: &str) {
        let Some(Ttl::Remaining(left)) = ttl else {
            panic!("{why}: the ttl is {ttl:?}, expected what remains of {asked:?}")
        };
        let least = asked.saturating_sub(self.counted_since(start));
        // A store may round up by one step.
        let most = asked + self.granularity();
        assert!(
            least <= left && left <= most,
            "{why}: the ttl is {left:?}, expected {least:?} to {most:?} of a lifetime of {asked:?}"
        );
    }

    /// Asserts that the entry under `key` has what remains of the lifetime `asked`, which began
    /// between `start` and now.
    pub(crate) async fn expect_lifetime(
        &self,
        key: &str,
        asked: Expiry,
        start: Moment,
        why: &str,
    ) -> Result<()> {
        let ttl = self.store.ttl(key).await?;
        match asked {
            Expiry::Never => assert_eq!(ttl, Some(Ttl::Forever), "{why}: the ttl of {key}"),
            Expiry::After(time) => self.assert_ttl(ttl, time, start, why),
        }
        Ok(())
    }

    /// Runs `tasks` tasks that begin at the same moment, on two handles if the store is shared.
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

    /// Removes the entries of the test.
    pub(crate) async fn clean_up(&self) {
        let Leftovers { mut namespaces, keys } = std::mem::take(&mut *self.leftovers());
        namespaces.extend(Namespace::new(&self.prefix));
        // Tests of `clear` and `delete_many` report errors of these calls; here they would hide the
        // outcome.
        for namespace in &namespaces {
            let _ = self.store.clear(namespace).await;
        }
        if !keys.is_empty() {
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            let _ = self.store.delete_many(&keys).await;
        }
    }

    fn leftovers(&self) -> std::sync::MutexGuard<'_, Leftovers> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first part of all keys of a run: two runs on one server at the same time do not
/// share keys.
pub(crate) fn random_id() -> String {
    // The only source of randomness in the standard library.
    format!("cc{:08x}", RandomState::new().build_hasher().finish() >> 32)
}

/// Ends a test that does not apply to the store.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

pub(crate) fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Bytes as a message shows them: a long value is cut.
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
