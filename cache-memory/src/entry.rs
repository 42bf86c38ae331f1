//! A stored entry and its weight.

#![expect(
    clippy::inline_always,
    reason = "a hit moves the entry through these functions: each move that is not inlined costs 5 ns"
)]

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf, Bytes};
use cache_core::store::Object;
use quick_cache::Weighter;

use crate::{buffer::joined, deadline::Deadline};

/// A key with its value and its deadline.
///
/// The engine knows an entry by the hash of its key, so a reader compares the key itself. Of two
/// keys with one hash, the store holds the one that was written last, as if it had evicted the
/// other.
#[derive(Debug)]
pub(crate) struct Entry {
    record: Record,
    /// Atomic only to allow a change in place, which happens under the lock of the entry's shard.
    deadline: AtomicU64,
}

/// The length of the key, the key, and the value: one allocation instead of two, and a reader that
/// compares the key has the value in the processor's cache.
#[derive(Clone, Debug)]
enum Record {
    Bytes(Bytes),
    /// With the object that is kept beside the value. A reader counts one reference for both.
    WithObject(Arc<(Bytes, Object)>),
}

// Objects are free for entries without one.
// panics: at compile time
const _: () = assert!(size_of::<Record>() == size_of::<Bytes>());

/// The cost of an entry in addition to its key and its value, in bytes: its slot and its place in
/// the hash table (both grow by doubling), the rest of the allocation of key and value, its record
/// in the expiry index, and its share of the history of evicted keys.
pub(crate) const OVERHEAD: u64 = 160;

/// Weighs entries such that a single sum enforces both bounds: an entry weighs its cost, but at
/// least `share`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryWeighter {
    pub(crate) share: u64,
}

impl Entry {
    /// Copies key and value, so that the entry does not keep a larger buffer of the caller alive.
    pub(crate) fn new(key: &str, value: &[u8]) -> Self {
        let record = Record::Bytes(joined([&key.len().to_ne_bytes(), key.as_bytes(), value]));
        Self { record, deadline: AtomicU64::new(Deadline::NEVER.to_bits()) }
    }

    /// Returns the same entry with an object beside its value.
    pub(crate) fn with_object(self, object: Object) -> Self {
        let record = Record::WithObject(Arc::new((self.record.into_bytes(), object)));
        Self { record, deadline: self.deadline }
    }

    /// Returns the object beside the value.
    pub(crate) fn object(&self) -> Option<&(dyn Any + Send + Sync)> {
        match &self.record {
            Record::Bytes(_) => None,
            Record::WithObject(it) => Some(&*it.1),
        }
    }

    pub(crate) fn expiring(self, deadline: Deadline) -> Self {
        self.set_deadline(deadline);
        self
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::from_bits(self.deadline.load(Ordering::Relaxed))
    }

    pub(crate) fn set_deadline(&self, deadline: Deadline) {
        self.deadline.store(deadline.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn is_of(&self, key: &str) -> bool {
        self.key_and_value().0 == key.as_bytes()
    }

    pub(crate) fn key(&self) -> &str {
        str::from_utf8(self.key_and_value().0).unwrap_or_default()
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.key_and_value().1
    }

    /// Returns the value without copying it.
    #[inline(always)]
    pub(crate) fn into_value(self) -> Bytes {
        let mut record = self.record.into_bytes();
        record.advance(record.len() - split(&record).1.len());
        record
    }

    /// Returns where key and value are: it tells the entry from all others.
    pub(crate) fn address(&self) -> *const u8 {
        self.record.bytes().as_ptr()
    }

    fn key_and_value(&self) -> (&[u8], &[u8]) {
        split(self.record.bytes())
    }
}

/// Splits a record into key and value.
#[inline(always)]
fn split(record: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = record.split_first_chunk() else { return Default::default() };
    rest.split_at_checked(usize::from_ne_bytes(*len)).unwrap_or_default()
}

impl Record {
    #[inline(always)]
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Bytes(it) => it,
            Self::WithObject(it) => &it.0,
        }
    }

    #[inline(always)]
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(it) => it,
            Self::WithObject(it) => it.0.clone(),
        }
    }
}

impl Clone for Entry {
    #[inline(always)]
    fn clone(&self) -> Self {
        let deadline = AtomicU64::new(self.deadline.load(Ordering::Relaxed));
        Self { record: self.record.clone(), deadline }
    }
}

/// The cost of an entry in bytes.
pub(crate) fn cost(key: &str, value: &[u8]) -> u64 {
    OVERHEAD + key.len() as u64 + value.len() as u64
}

impl Weighter<u64, Entry> for EntryWeighter {
    fn weight(&self, _: &u64, entry: &Entry) -> u64 {
        // The same as `cost`, without reading the key.
        let len = entry.record.bytes().len() - size_of::<usize>();
        (OVERHEAD + len as u64).max(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_returns_its_key_and_its_value() {
        for (key, value) in [("", ""), ("k", ""), ("", "v"), ("schlüssel", "value")] {
            let entry = Entry::new(key, value.as_bytes());
            assert!(entry.is_of(key) && !entry.is_of("other"));
            assert_eq!((entry.key(), entry.value()), (key, value.as_bytes()));
            assert_eq!(entry.clone().into_value(), value);
            let weighter = EntryWeighter { share: 0 };
            assert_eq!(weighter.weight(&0, &entry), cost(key, value.as_bytes()));
        }
    }

    #[test]
    fn key_is_not_mixed_up_with_the_value() {
        assert!(!Entry::new("a", b"bc").is_of("ab"));
        assert!(!Entry::new("ab", b"c").is_of("a"));
    }
}
