use std::fmt;

use bytes::Bytes;

use crate::timeout::{Expiry, Ttl};

/// The condition under which [`Backend::set`](super::Backend::set) writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SetMode {
    /// Writes always.
    #[default]
    Always,
    /// Writes only if the key is absent (`add`).
    IfAbsent,
    /// Writes only if the key is live (`replace`).
    IfPresent,
}

/// A live entry as it was at the moment of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The stored bytes.
    pub value: Bytes,
    /// The remaining lifetime.
    pub ttl: Ttl,
    /// The stamp, which tells this entry from a later entry with the same bytes.
    pub stamp: Stamp,
}

impl Entry {
    /// Creates it from its parts.
    pub const fn new(value: Bytes, ttl: Ttl, stamp: Stamp) -> Self {
        Self { value, ttl, stamp }
    }
}

/// A number that the store changes when an entry is written again with another lifetime: its
/// absolute expiry, a compare-and-swap number, or a counter of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

/// The entry that a caller expects to be stored: the change is made only if it still is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected<'a> {
    /// The expected bytes.
    pub value: &'a [u8],
    /// The expected stamp; `None` if a rewrite of the same bytes does not count as a change.
    pub stamp: Option<Stamp>,
}

/// The value and lifetime of a counter that [`Backend::incr`](super::Backend::incr) creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CounterInit {
    /// The value to which the first `delta` is added.
    pub initial: i64,
    /// The lifetime of the new entry.
    pub expiry: Expiry,
}

impl CounterInit {
    /// Creates it from its parts.
    pub const fn new(initial: i64, expiry: Expiry) -> Self {
        Self { initial, expiry }
    }
}

/// The lifetime after [`Backend::compare_and_set`](super::Backend::compare_and_set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlUpdate {
    /// The entry keeps its lifetime.
    Keep,
    /// The entry gets this lifetime.
    New(Expiry),
}

impl<'a> Expected<'a> {
    /// Expects these bytes, and this stamp if there is one.
    pub const fn new(value: &'a [u8], stamp: Option<Stamp>) -> Self {
        Self { value, stamp }
    }

    /// Expects these bytes, whenever they were written.
    pub const fn value(value: &'a [u8]) -> Self {
        Self { value, stamp: None }
    }

    /// Expects exactly this entry.
    pub fn entry(entry: &'a Entry) -> Self {
        Self { value: &entry.value, stamp: Some(entry.stamp) }
    }

    /// Returns whether an entry of these bytes and this stamp is the expected one.
    pub fn is(&self, value: &[u8], stamp: Stamp) -> bool {
        self.value == value && self.stamp.is_none_or(|it| it == stamp)
    }
}

/// Prints the length instead of the bytes, which may be a secret.
impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected")
            .field("len", &self.value.len())
            .field("stamp", &self.stamp)
            .finish()
    }
}
