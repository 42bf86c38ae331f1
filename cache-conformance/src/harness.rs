use std::{fmt, sync::Arc, time::Duration};

use cache_core::{CacheBuilder, store::Backend, testing::FakeClock};

/// A store under test, and what the suite must know about it.
pub struct Harness {
    pub(crate) name: String,
    pub(crate) open: Arc<dyn Fn() -> Arc<dyn Backend> + Send + Sync>,
    pub(crate) configure: Arc<dyn Fn(CacheBuilder) -> CacheBuilder + Send + Sync>,
    pub(crate) clock: Option<FakeClock>,
    pub(crate) may_clear_store: bool,
    pub(crate) test_timeout: Duration,
    pub(crate) skipped: Vec<(String, String)>,
    pub(crate) only: Option<Vec<String>>,
}

impl Harness {
    /// Describes a store. `name` stands in messages; `open` returns a new handle on the store,
    /// which need not be empty.
    ///
    /// Some tests open several handles. If the store is
    /// [`shared`](cache_core::store::Capabilities::shared), all handles must see the same entries;
    /// otherwise each handle may be a store of its own.
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
            test_timeout: TEST_TIMEOUT,
            skipped: Vec::new(),
            only: None,
        }
    }

    /// Changes settings of the caches that [`run_cache`](crate::run_cache) builds over the store,
    /// for example the codec.
    ///
    /// The suite itself sets prefix, version, timeout, clock and the rules for keys, and leaves
    /// `fail_open` on.
    #[must_use]
    pub fn configure<F>(mut self, configure: F) -> Self
    where
        F: Fn(CacheBuilder) -> CacheBuilder + Send + Sync + 'static,
    {
        self.configure = Arc::new(configure);
        self
    }

    /// Sets the clock that the store follows, for monotonic and wall-clock time. The tests then
    /// move it instead of waiting.
    #[must_use]
    pub fn clock(mut self, clock: FakeClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Allows the tests to remove entries that they did not write. Only for a store that no other
    /// program uses.
    #[must_use]
    pub fn may_clear_store(mut self) -> Self {
        self.may_clear_store = true;
        self
    }

    /// Sets how long one test may take; a test that takes longer fails. Fifteen minutes by default.
    #[must_use]
    pub fn test_timeout(mut self, time: Duration) -> Self {
        self.test_timeout = time;
        self
    }

    /// Skips a test. The report prints the reason.
    #[must_use]
    pub fn skip(mut self, test: &str, reason: &str) -> Self {
        self.skipped.push((test.to_owned(), reason.to_owned()));
        self
    }

    /// Runs these tests and no others, for example during work on a store.
    #[must_use]
    pub fn only(mut self, tests: &[&str]) -> Self {
        self.only = Some(tests.iter().map(|&it| it.to_owned()).collect());
        self
    }
}

/// Ends a test that hangs. A busy machine must not come near it: it may take minutes for what takes
/// a second elsewhere.
const TEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("name", &self.name)
            .field("clock", &self.clock)
            .field("may_clear_store", &self.may_clear_store)
            .field("test_timeout", &self.test_timeout)
            .field("skipped", &self.skipped)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}
