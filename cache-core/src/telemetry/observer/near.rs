//! Reports about the near tier.

use std::time::Duration;

use super::Observer;
use crate::{error::Error, store::NearInvalidation};

/// How a key was read through a near tier.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NearRead {
    Hit,
    Miss,
    Bypassed,
}

impl Observer {
    /// Counts `keys` keys of a read.
    #[inline]
    pub(crate) fn near_reads(&self, result: NearRead, keys: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_near_reads_total",
            "alias" => std::sync::Arc::clone(&self.alias),
            "result" => match result {
                NearRead::Hit => "hit",
                NearRead::Miss => "miss",
                NearRead::Bypassed => "bypassed",
            }
        )
        .increment(keys);
    }

    /// Counts a key that the store reported as changed.
    pub(crate) fn near_invalidation(&self) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_near_invalidations_total", "alias" => std::sync::Arc::clone(&self.alias)
        )
        .increment(1);
    }

    /// Counts that all near entries were removed.
    pub(crate) fn near_reset(&self) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_near_resets_total", "alias" => std::sync::Arc::clone(&self.alias)
        )
        .increment(1);
    }

    /// Records how far the reports of changes are behind the store.
    pub(crate) fn near_lag(&self, lag: Duration) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("cache_near_lag_seconds", "alias" => std::sync::Arc::clone(&self.alias))
            .record(lag);
    }

    /// Reports that the near tier is in use.
    pub(crate) fn near_in_use(&self, invalidation: NearInvalidation, timeout: Duration) {
        #[cfg(feature = "tracing")]
        tracing::info!(
            target: "cache_core",
            alias = &*self.alias,
            invalidation = invalidation.as_str(),
            ?timeout,
            "the near tier is in use"
        );
    }

    /// Reports that the near tier is bypassed until the stream of changes is open.
    pub(crate) fn near_bypassed(&self, error: &Error) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "cache_core",
            alias = &*self.alias,
            %error,
            "the near tier is bypassed until the store reports changes again"
        );
    }

    /// Reports that memory with a stream of messages was bypassed until a heartbeat that came late.
    pub(crate) fn late_heartbeat(&self, late: Duration) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "cache_core",
            alias = &*self.alias,
            ?late,
            "the memory was bypassed until a late heartbeat: the process or its thread \
             `cache-runtime` stood still, or the server was slow"
        );
    }

    /// Reports that the near tier is in use without a stream of changes, which the server refuses.
    pub(crate) fn near_refused(&self, error: &Error, timeout: Duration) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "cache_core",
            alias = &*self.alias,
            %error,
            ?timeout,
            "the server does not report changes, and the near tier is in use without"
        );
    }
}
