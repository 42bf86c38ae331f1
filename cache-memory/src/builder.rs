//! Options of a [`Memory`] that is created in code.

use cache_core::{Clock, Error, ErrorKind, Result};

use crate::{
    Memory,
    limits::{InvalidLimit, Limits, RequestedLimits},
};

/// A builder of a [`Memory`] with other bounds or another clock.
///
/// ```
/// use cache_core::{ErrorKind, store::SyncBackend};
/// use cache_memory::Memory;
///
/// let memory = Memory::builder().max_entries(10_000).max_bytes(8 << 20).build()?;
/// assert_eq!(memory.capabilities().max_value_len, Some(1 << 20));
///
/// let error = Memory::builder().max_entries(0).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Config);
/// # Ok::<_, cache_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct MemoryBuilder {
    requested: RequestedLimits,
    clock: Clock,
}

impl Memory {
    /// Returns a builder for a store with other bounds or another clock.
    ///
    /// ```
    /// assert!(cache_memory::Memory::builder().max_bytes(64 << 20).build().is_ok());
    /// ```
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }
}

impl MemoryBuilder {
    /// Sets the maximum number of entries. Default: a million.
    ///
    /// A store of less than 1,024 entries holds exactly this many. A larger one is divided into
    /// shards with separate locks, among which keys are not distributed evenly: if it is filled
    /// with just this many keys, it evicts 1 to 4 % of them.
    ///
    /// ```
    /// # use cache_core::store::{Expiry, SetMode, SyncBackend};
    /// # use cache_memory::Memory;
    /// let memory = Memory::builder().max_entries(2).build()?;
    /// for key in ["a", "b", "c", "d"] {
    ///     memory.set(key, "1".into(), Expiry::Never, SetMode::Always)?;
    /// }
    /// assert_eq!(memory.len(), 2);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.requested.max_entries = Some(entries);
        self
    }

    /// Sets the maximum number of bytes, including keys, values and bookkeeping. Default: 256 MiB.
    ///
    /// ```
    /// # use cache_core::store::{Expiry, SetMode, SyncBackend};
    /// # use cache_memory::Memory;
    /// let memory = Memory::builder().max_bytes(100_000).build()?;
    /// for key in 0..100 {
    ///     memory.set(&key.to_string(), vec![0; 10_000].into(), Expiry::Never, SetMode::Always)?;
    /// }
    /// assert!(memory.bytes() <= 100_000);
    /// assert!(memory.get("99")?.is_some());
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.requested.max_bytes = Some(bytes);
        self
    }

    /// Sets the maximum size of a value; larger values are refused with `TooLarge`. Default: the
    /// larger of `max_bytes / 64` and 1 MiB, but at most what fits.
    ///
    /// The capacity is divided among shards with separate locks, and each shard must have room for
    /// such a value. So a smaller limit lets more threads write at the same time.
    ///
    /// ```
    /// # use cache_core::{ErrorKind, store::{Expiry, SetMode, SyncBackend}};
    /// # use cache_memory::Memory;
    /// let memory = Memory::builder().max_value_bytes(100).build()?;
    /// let value = vec![0; 101].into();
    /// let error = memory.set("k", value, Expiry::Never, SetMode::Always).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TooLarge);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.requested.max_value_bytes = Some(bytes);
        self
    }

    /// Sets the clock that decides what has expired. Default: the system clock.
    ///
    /// ```
    /// # use cache_core::Clock;
    /// # use cache_memory::Memory;
    /// let memory = Memory::builder().clock(Clock::system()).build()?;
    /// assert!(memory.is_empty());
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Creates the store.
    ///
    /// # Errors
    /// `Config` if a bound is zero, is too small for one entry, or contradicts another bound.
    ///
    /// ```
    /// # use cache_memory::Memory;
    /// let error = Memory::builder().max_bytes(10).build().unwrap_err();
    /// assert!(error.to_string().contains("max_bytes is 10 bytes, which is too small"), "{error}");
    /// ```
    pub fn build(self) -> Result<Memory> {
        match Limits::new(self.requested) {
            Ok(limits) => Ok(Memory::with_limits(limits, self.clock)),
            Err(InvalidLimit(option, problem)) => {
                Err(Error::new(ErrorKind::Config, format!("{option} {problem}")))
            }
        }
    }
}
