use std::fmt;

use bytes::Bytes;

use crate::timeout::{Expiry, Ttl};

/// When [`Backend::set`] may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SetMode {
    /// Always.
    #[default]
    Always,
    /// Only if the key is absent (`add`).
    IfAbsent,
    /// Only if the key is live (`replace`).
    IfPresent,
}

/// A live entry, as one read saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The stored bytes.
    pub value: Bytes,
    /// What remained of its life.
    pub ttl: Ttl,
    /// What tells this entry from a later one with the same bytes.
    pub stamp: Stamp,
}

impl Entry {
    /// Creates it from its parts.
    pub const fn new(value: Bytes, ttl: Ttl, stamp: Stamp) -> Self {
        Self { value, ttl, stamp }
    }
}

/// A number of the store's own that changes when an entry is written again with another lifetime: its
/// absolute expiry, a compare-and-swap number, a counter of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

/// What a caller saw before it asks for a change: the change is made only if this still holds.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected<'a> {
    /// The bytes.
    pub value: &'a [u8],
    /// The stamp, where a rewrite of the same bytes must count as a change.
    pub stamp: Option<Stamp>,
}

/// What becomes of an absent key in [`Backend::incr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CounterInit {
    /// The value that the key is taken to have had.
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

/// What becomes of the lifetime in [`Backend::compare_and_set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlUpdate {
    /// It goes on.
    Keep,
    /// It is this from now on.
    New(Expiry),
}

impl<'a> Expected<'a> {
    /// Expects these bytes, and this stamp if there is one.
    pub const fn new(value: &'a [u8], stamp: Option<Stamp>) -> Self {
        Self { value, stamp }
    }

    /// These bytes, whenever they were written.
    pub const fn value(value: &'a [u8]) -> Self {
        Self { value, stamp: None }
    }

    /// Exactly this entry.
    pub fn entry(entry: &'a Entry) -> Self {
        Self { value: &entry.value, stamp: Some(entry.stamp) }
    }

    /// Whether an entry of these bytes and this stamp is the one that was seen.
    pub fn is(&self, value: &[u8], stamp: Stamp) -> bool {
        self.value == value && self.stamp.is_none_or(|it| it == stamp)
    }
}

/// Without the bytes, which may be anything.
impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected")
            .field("len", &self.value.len())
            .field("stamp", &self.stamp)
            .finish()
    }
}
