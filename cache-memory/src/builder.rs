//! The bounds of a [`Memory`], and its clock.

use cache_core::{Clock, Error, ErrorKind, Result};

use crate::{
    Memory,
    limits::{InvalidLimit, Limits, RequestedLimits},
};

/// Makes a [`Memory`] with bounds of its own.
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

impl MemoryBuilder {
    /// The most entries that it holds; a million if nothing is said.
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

    /// The most bytes that it holds, with keys, values and what they cost besides; 256 MiB if nothing is said.
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

    /// The largest value that it takes; what is larger is `TooLarge`. If nothing is said: a 64th of `max_bytes`, but a
    /// mebibyte or what fits if that is more.
    ///
    /// The room is divided among shards that are locked one by one, and each must have room for such a value. So a
    /// smaller limit lets more threads write at once.
    ///
    /// ```
    /// # use cache_core::{ErrorKind, store::{Expiry, SetMode, SyncBackend}};
    /// # use cache_memory::Memory;
    /// let memory = Memory::builder().max_value_bytes(100).build()?;
    /// let error = memory.set("k", vec![0; 101].into(), Expiry::Never, SetMode::Always).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TooLarge);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.requested.max_value_bytes = Some(bytes);
        self
    }

    /// The clock that decides what has expired; the machine's if nothing is said.
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

    /// Makes the store. `Config` if a bound makes no sense.
    ///
    /// ```
    /// # use cache_memory::Memory;
    /// let error = Memory::builder().max_bytes(10).build().unwrap_err();
    /// assert!(error.to_string().contains("max_bytes is 10 bytes, which is too little"), "{error}");
    /// ```
    pub fn build(self) -> Result<Memory> {
        match Limits::new(self.requested) {
            Ok(limits) => Ok(Memory::with_limits(limits, self.clock)),
            Err(InvalidLimit(bound, what)) => {
                Err(Error::new(ErrorKind::Config, format!("{bound} {what}")))
            }
        }
    }
}
