//! How a test ends.

/// The end of a test. A failed check panics instead.
pub(crate) type TestResult = Result<(), Stop>;

/// The reason for which a test ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A call failed.
    Error(cache_core::Error),
    /// The test does not apply to this store, for this reason.
    Skip(String),
}

impl From<cache_core::Error> for Stop {
    fn from(it: cache_core::Error) -> Self {
        Self::Error(it)
    }
}
