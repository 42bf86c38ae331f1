//! Functions with `#[cached]`.

#![allow(missing_docs)]
#![expect(clippy::unused_async, reason = "real functions wait for a source")]

mod arguments;
mod blocking;
mod failures;
mod kept;
mod keys;
mod loads;
mod methods;
mod names;
mod paths;
mod settings;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cache_core::{CACHES, Caches};
use cache_memory as _;

/// Runs a test with caches of its own.
async fn with(settings: &str, test: impl Future<Output = ()>) {
    CACHES.scope(Caches::from_toml(settings).unwrap().leak(), test).await;
}

const MEMORY: &str = "caches.default.backend = 'memory'";

/// How often a function has run.
struct Runs(AtomicU32);

impl Runs {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts a run. Returns its number.
    fn next(&self) -> u32 {
        self.0.fetch_add(1, SeqCst) + 1
    }

    fn count(&self) -> u32 {
        self.0.load(SeqCst)
    }
}
