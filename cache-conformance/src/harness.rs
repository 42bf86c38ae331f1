use std::{fmt, sync::Arc, time::Duration};

use cache_core::{Backend, CacheBuilder, testing::FakeClock};

/// What the suite must know about a store.
pub struct Harness {
    pub(crate) name: String,
    pub(crate) open: Arc<dyn Fn() -> Arc<dyn Backend> + Send + Sync>,
    pub(crate) configure: Arc<dyn Fn(CacheBuilder) -> CacheBuilder + Send + Sync>,
    pub(crate) clock: Option<FakeClock>,
    pub(crate) may_clear_store: bool,
    pub(crate) patience: Duration,
    pub(crate) skipped: Vec<(String, String)>,
    pub(crate) only: Option<Vec<String>>,
}

impl Harness {
    /// `open` gives a new handle on the store under test, which need not be empty. Handles on a store that is
    /// [`shared`](cache_core::Capabilities::shared) must all see the same entries, and some tests use several; otherwise each may be a
    /// store of its own.
    pub fn new<F>(name: impl Into<String>, open: F) -> Self
    where
        F: Fn() -> Arc<dyn Backend> + Send + Sync + 'static,
    {
        Self {
            name: name.into(),
            open: Arc::new(open),
            configure: Arc::new(|it| it),
            clock: None,
            may_clear_store: false,
            patience: Duration::from_secs(60),
            skipped: Vec::new(),
            only: None,
        }
    }

    /// Settings of the caches that [`run_cache`](crate::run_cache) makes over the store: another codec, say. Prefix, version,
    /// timeout, clock and the rules for keys are the suite's own, and `fail_open` is on.
    #[must_use]
    pub fn configure<F>(mut self, configure: F) -> Self
    where
        F: Fn(CacheBuilder) -> CacheBuilder + Send + Sync + 'static,
    {
        self.configure = Arc::new(configure);
        self
    }

    /// The store takes its time, monotonic and wall, from this clock, so the tests move it instead of waiting.
    #[must_use]
    pub fn clock(mut self, clock: FakeClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Nobody else uses the store: the tests may remove what they did not write.
    #[must_use]
    pub fn may_clear_store(mut self) -> Self {
        self.may_clear_store = true;
        self
    }

    /// How long one test may take, a minute by default; after it the test has failed.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// Leaves a test out, for a reason that is printed.
    #[must_use]
    pub fn skip(mut self, test: &str, reason: &str) -> Self {
        self.skipped.push((test.to_owned(), reason.to_owned()));
        self
    }

    /// Runs only these tests: while one works on a store.
    #[must_use]
    pub fn only(mut self, tests: &[&str]) -> Self {
        self.only = Some(tests.iter().map(|&it| it.to_owned()).collect());
        self
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("name", &self.name)
            .field("clock", &self.clock)
            .field("may_clear_store", &self.may_clear_store)
            .field("patience", &self.patience)
            .field("skipped", &self.skipped)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}
