//! Reports about memory on a bus.

use super::Observer;
use crate::error::Error;

impl Observer {
    /// Counts keys, tags and clears that other processes published.
    pub(crate) fn bus_invalidations(&self, count: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_bus_invalidations_total", "alias" => std::sync::Arc::clone(&self.alias)
        )
        .increment(count);
    }

    /// Counts that the memory was emptied.
    pub(crate) fn bus_reset(&self) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_bus_resets_total", "alias" => std::sync::Arc::clone(&self.alias)
        )
        .increment(1);
    }

    /// Counts keys that a read did not look for.
    pub(crate) fn bus_bypassed_keys(&self, keys: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_bus_bypassed_total", "alias" => std::sync::Arc::clone(&self.alias)
        )
        .increment(keys);
    }

    /// Reports that the memory is in use.
    pub(crate) fn bus_in_use(&self, bus: &str) {
        #[cfg(feature = "tracing")]
        tracing::info!(
            target: "cache_core",
            alias = &*self.alias,
            bus,
            "the memory is in use, and messages of other processes arrive over its bus"
        );
    }

    /// Reports that the memory is bypassed until messages arrive again.
    pub(crate) fn bus_bypassed(&self, error: &Error) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "cache_core",
            alias = &*self.alias,
            %error,
            "the memory is bypassed until messages of other processes arrive again over its bus"
        );
    }
}
