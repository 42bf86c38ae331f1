use std::time::Duration;

use crate::store::NearInvalidation;

/// The counters of the near tier of a cache: see [`Stats::near`](crate::Stats::near).
///
/// ```
/// # use cache_core::Cache; use cache_memory::Memory;
/// let cache = Cache::new("test", Memory::new());
/// assert_eq!(cache.stats().near, None, "no near tier");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Keys that a read found near.
    pub hits: u64,
    /// Keys that a read did not find near, and read from the store of the alias.
    pub misses: u64,
    /// Keys that were read from the store of the alias because the tier was bypassed.
    pub bypassed: u64,
    /// Keys that the store reported as changed. Aliases with the same keys share this counter and
    /// the next one.
    pub invalidations: u64,
    /// How often all entries were removed: the stream of changes began again, the server was
    /// flushed, or a message could not be read.
    pub resets: u64,
    /// How far the reports were behind the store at the last heartbeat, which is sent each second:
    /// all changes older than this had arrived. Of several servers, it is the one that answered
    /// last. `None` before the first heartbeat, and while the tier is bypassed or in use without
    /// invalidation.
    pub lag: Option<Duration>,
    /// How changes are reported to the tier. Never `Auto`.
    pub invalidation: NearInvalidation,
    /// Whether the tier is bypassed now, because no changes are reported to it, or the last
    /// heartbeat is too old.
    pub is_bypassed: bool,
}
