//! Loads, and what became of their values.

#[cfg(feature = "metrics")]
use std::sync::Arc;
use std::time::Duration;

use super::Observer;
#[cfg(feature = "tracing")]
use crate::telemetry::limit;

/// The result of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loaded {
    Ok,
    Error,
    Shared,
}

/// A load in the background.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refreshed {
    Started,
    Skipped,
}

/// The reason for which a loaded value is not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotStored {
    /// The write failed.
    Failed,
    /// The key was written or deleted since the load began.
    Refused,
}

impl Observer {
    /// Reports a load, or a caller that shared another caller's load.
    pub(crate) fn load(&self, result: Loaded, took: Duration) {
        #[cfg(feature = "metrics")]
        {
            let alias = || Arc::clone(&self.alias);
            let name = match result {
                Loaded::Ok => "ok",
                Loaded::Error => "error",
                Loaded::Shared => "shared",
            };
            metrics::counter!("cache_loads_total", "alias" => alias(), "result" => name)
                .increment(1);
            if !matches!(result, Loaded::Shared) {
                metrics::histogram!("cache_load_duration_seconds", "alias" => alias()).record(took);
            }
        }
    }

    /// Reports a load in the background.
    pub(crate) fn refresh(&self, result: Refreshed) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_refreshes_total",
            "alias" => Arc::clone(&self.alias),
            "result" => match result {
                Refreshed::Started => "started",
                Refreshed::Skipped => "skipped",
            }
        )
        .increment(1);
    }

    /// Counts a loaded value that is not stored.
    pub(crate) fn not_stored(&self, reason: NotStored) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_loads_not_stored_total",
            "alias" => Arc::clone(&self.alias),
            "reason" => match reason {
                NotStored::Failed => "failed",
                NotStored::Refused => "refused",
            }
        )
        .increment(1);
    }

    /// Reports a loaded value that is larger than the store accepts and is therefore loaded again
    /// each time.
    pub(crate) fn load_too_large(&self, key: &str, size: usize, limit: Option<usize>) {
        #[cfg(feature = "tracing")]
        if let Some(suppressed) = self.too_large.pass(self.clock.now(), limit::MINUTE) {
            tracing::warn!(
                target: "cache_core",
                alias = &*self.alias,
                key,
                size,
                limit,
                suppressed,
                "a loaded value is too large for the store, and is loaded each time"
            );
        }
    }
}
