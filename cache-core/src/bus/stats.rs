/// The counters of memory on a bus: see [`Stats::bus`](crate::Stats::bus).
///
/// ```
/// # use cache_core::Cache; use cache_memory::Memory;
/// let cache = Cache::new("test", Memory::new());
/// assert_eq!(cache.stats().bus, None, "no bus");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusStats {
    /// Keys, tags and clears that other processes have published. Aliases with the same keys in the
    /// same memory share this counter and the next two.
    pub invalidations: u64,
    /// How often the memory was emptied: the stream of messages began, a heartbeat came too late,
    /// or messages were lost or could not be read.
    pub resets: u64,
    /// Keys and clears of this process that are not published yet. They are sent again in the
    /// background.
    pub pending: u64,
    /// Keys that a read did not look for, because the memory was bypassed.
    pub bypassed: u64,
    /// Whether the memory is bypassed now, because no messages arrive, or the last heartbeat is too
    /// old.
    pub is_bypassed: bool,
}
