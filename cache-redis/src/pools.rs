//! A pool for each tokio runtime that makes calls.

use std::sync::Arc;

use cache_core::{Clock, Result, store::PerRuntime};

use crate::pool::{Common, Pool};

/// The pools of a store.
#[derive(Debug)]
pub(crate) struct Pools {
    common: Arc<Common>,
    open: PerRuntime<Pool>,
}

impl Pools {
    pub(crate) fn new(common: Common) -> Self {
        Self { common: Arc::new(common), open: PerRuntime::new() }
    }

    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.common.nodes.connector.clock
    }

    /// Returns the pool of the caller's runtime. Creates the pool if it does not exist.
    pub(crate) fn here(&self) -> Result<Arc<Pool>> {
        self.open.here(|runtime| Pool::new(Arc::clone(&self.common), runtime.clone()))
    }

    /// Closes all connections after the calls that are in progress.
    pub(crate) fn close(&self) {
        self.open.clear();
    }
}
