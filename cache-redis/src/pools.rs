//! A pool for each tokio runtime that calls.

use std::sync::Arc;

use cache_core::{Result, store::PerRuntime};

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

    /// The pool of the caller's runtime, made if it is not there.
    pub(crate) fn here(&self) -> Result<Arc<Pool>> {
        self.open.here(|runtime| Pool::new(Arc::clone(&self.common), runtime.clone()))
    }

    /// Ends all connections. Calls that are under way come to their end first.
    pub(crate) fn close(&self) {
        self.open.clear();
    }
}
