//! Deletes that failed, until they were made up for.

#[cfg(feature = "metrics")]
use std::sync::Arc;

use super::Observer;
#[cfg(feature = "tracing")]
use crate::telemetry::limit;

impl Observer {
    /// Reports the number of keys whose delete is pending.
    pub(crate) fn tombstones(&self, count: usize) {
        #[cfg(feature = "metrics")]
        {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("cache_tombstones", "alias" => Arc::clone(&self.alias)).set(count);
        }
        #[cfg(feature = "tracing")]
        if count == 0 {
            tracing::info!(target: "cache_core", alias = &*self.alias, "no delete is pending");
        }
    }

    /// Reports a key whose write or delete failed, so that the old entry may still be stored.
    pub(crate) fn delete_is_pending(&self, key: &str) {
        #[cfg(feature = "tracing")]
        if let Some(suppressed) = self.pending.pass(self.clock.now(), limit::SECOND) {
            tracing::warn!(
                target: "cache_core",
                alias = &*self.alias,
                key,
                suppressed,
                "a delete is pending, and is sent again in the background"
            );
        }
    }
}
