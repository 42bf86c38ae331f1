//! What a store is, in facts.

use std::time::Duration;

/// Facts about a store, for the facade, the docs and the conformance suite. They excuse no line of the
/// contract: a store that lacks something emulates it, or answers with a typed error.
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
    /// Other processes see the entries.
    pub shared: bool,
    /// Entries outlive the process.
    pub persistent: bool,
    /// Connecting is part of the first call, so that one may take the connect deadline longer.
    pub connects: bool,
    /// It is several servers, and keeps a [`Breaker`](crate::layer::Breaker) for each by itself.
    pub breaks_per_server: bool,
    /// The steps in which it measures time: an entry may live this much longer than asked.
    pub granularity: Duration,
    /// The largest value in bytes, where there is a limit known beforehand: of the caller's bytes, as
    /// [`payload_len`](crate::store::payload_len) counts them.
    pub max_value_len: Option<usize>,
}

impl Capabilities {
    /// Of a store in this process, with milliseconds and no limit for values.
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

    /// Other processes see the entries.
    #[must_use]
    pub const fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Entries outlive the process.
    #[must_use]
    pub const fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Its first call connects.
    #[must_use]
    pub const fn connects(mut self) -> Self {
        self.connects = true;
        self
    }

    /// It keeps a breaker for each of its servers.
    #[must_use]
    pub const fn breaks_per_server(mut self) -> Self {
        self.breaks_per_server = true;
        self
    }

    /// It measures time in these steps.
    #[must_use]
    pub const fn granularity(mut self, step: Duration) -> Self {
        self.granularity = step;
        self
    }

    /// Its largest value, in bytes.
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
