//! The properties of a store.

use std::time::Duration;

/// Properties of a store, for the facade, the docs and the conformance suite.
///
/// They excuse no rule of the contract: a store that lacks something emulates it or returns a typed
/// error.
///
/// ```
/// use cache_core::store::Capabilities;
/// use std::time::Duration;
///
/// let facts = Capabilities::new().shared().granularity(Duration::from_secs(1)).max_value_len(1 << 20);
/// assert!(facts.shared && !facts.persistent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Capabilities {
    /// Whether other processes see the entries.
    pub shared: bool,
    /// Whether entries outlive the process.
    pub persistent: bool,
    /// Whether the first call connects, so that it may take longer by the connect deadline.
    pub connects: bool,
    /// Whether the store spans several servers and keeps a [`Breaker`](crate::layer::Breaker) for
    /// each of them itself.
    pub breaks_per_server: bool,
    /// The resolution of the store's clock: an entry may live this much longer than requested.
    pub granularity: Duration,
    /// The largest value in bytes, if the limit is known beforehand. It limits the caller's bytes,
    /// as [`payload_len`](crate::store::payload_len) counts them.
    pub max_value_len: Option<usize>,
}

impl Capabilities {
    /// Returns the properties of a store in this process, with a granularity of one millisecond and
    /// no size limit.
    pub const fn new() -> Self {
        Self {
            shared: false,
            persistent: false,
            connects: false,
            breaks_per_server: false,
            granularity: Duration::from_millis(1),
            max_value_len: None,
        }
    }

    /// Declares that other processes see the entries.
    #[must_use]
    pub const fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Declares that entries outlive the process.
    #[must_use]
    pub const fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Declares that the first call connects.
    #[must_use]
    pub const fn connects(mut self) -> Self {
        self.connects = true;
        self
    }

    /// Declares that the store keeps a breaker for each of its servers.
    #[must_use]
    pub const fn breaks_per_server(mut self) -> Self {
        self.breaks_per_server = true;
        self
    }

    /// Sets the resolution of the store's clock.
    #[must_use]
    pub const fn granularity(mut self, step: Duration) -> Self {
        self.granularity = step;
        self
    }

    /// Sets the largest value, in bytes.
    #[must_use]
    pub const fn max_value_len(mut self, len: usize) -> Self {
        self.max_value_len = Some(len);
        self
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}
