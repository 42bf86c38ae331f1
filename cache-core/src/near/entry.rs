//! The form of an entry in the near store: the stored bytes, then 24 bytes about the far entry.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::nanos::nanos;
use crate::{
    store::{Entry, Stamp},
    timeout::Ttl,
    value::envelope::{self, Found, Validity},
};

/// An entry of the near store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NearEntry {
    pub(super) value: Bytes,
    pub(super) fields: Fields,
}

/// The fields behind the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// The generation of the tier when the entry was read.
    pub(super) generation: u64,
    /// When the far entry ends at the latest, in nanoseconds of the clock.
    end: u64,
    stamp: Stamp,
}

/// The length of the fields.
const FIELDS: usize = 24;
/// The end of an entry without an end.
const NEVER: u64 = u64::MAX;

impl NearEntry {
    /// Returns the bytes of a far entry whose read began at `began`.
    pub(super) fn encode(entry: &Entry, generation: u64, began: Duration) -> Bytes {
        let end = match entry.ttl {
            Ttl::Forever => NEVER,
            Ttl::Remaining(left) => nanos(began.saturating_add(left)),
        };
        // Behind the value: a store may look for the header of a value at the beginning.
        let mut bytes = BytesMut::with_capacity(entry.value.len() + FIELDS);
        bytes.put_slice(&entry.value);
        bytes.put_u64_le(generation);
        bytes.put_u64_le(end);
        bytes.put_u64_le(entry.stamp.0);
        bytes.freeze()
    }

    /// Takes the bytes apart.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let (value, fields) = Self::split(&bytes)?;
        bytes.truncate(value.len());
        Some(Self { value: bytes, fields })
    }

    /// Takes the bytes apart without a reference count.
    pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], Fields)> {
        let (value, fields) = bytes.split_last_chunk::<FIELDS>()?;
        let (words, _) = fields.as_chunks::<8>();
        let [generation, end, stamp] = *words else { return None };
        let (generation, end) = (u64::from_le_bytes(generation), u64::from_le_bytes(end));
        let stamp = Stamp(u64::from_le_bytes(stamp));
        Some((value, Fields { generation, end, stamp }))
    }

    /// Returns the entry with the lifetime that remains of the far entry.
    pub(super) fn into_entry(self, now: impl FnOnce() -> Duration) -> Entry {
        Entry::new(self.value, self.fields.ttl(now), self.fields.stamp)
    }
}

impl Fields {
    /// Returns the lifetime that remains of the far entry, or a little less.
    pub(super) fn ttl(&self, now: impl FnOnce() -> Duration) -> Ttl {
        match self.end {
            NEVER => Ttl::Forever,
            end => Ttl::Remaining(Duration::from_nanos(end).saturating_sub(now())),
        }
    }
}

/// Returns how long a far entry may be near: until its value is stale. `None` if it is not a value:
/// a lease, a floor, a remembered absence, or a value that is stale by now.
pub(super) fn lifetime(entry: &Entry) -> Option<Ttl> {
    let found = envelope::find(entry.value.clone(), entry.ttl);
    match (found.verified(Validity::Valid), entry.ttl) {
        (Found::Fresh(_, terms), Ttl::Remaining(left)) => {
            Some(Ttl::Remaining(left.saturating_sub(terms.grace)))
        }
        (Found::Fresh(..), Ttl::Forever) => Some(Ttl::Forever),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_of_any_length_comes_back() {
        for value in [&b""[..], b"1", &[7; 1000]] {
            let left = Duration::from_secs(5);
            for (ttl, expected) in [
                (Ttl::Forever, Ttl::Forever),
                (Ttl::Remaining(left), Ttl::Remaining(Duration::from_secs(3))),
            ] {
                let entry = Entry::new(Bytes::copy_from_slice(value), ttl, Stamp(9));
                let encoded = NearEntry::encode(&entry, 3, Duration::from_secs(10));
                let decoded = NearEntry::decode(encoded).unwrap();
                assert_eq!(decoded.fields.generation, 3);
                let read = decoded.into_entry(|| Duration::from_secs(12));
                assert_eq!(read, Entry { ttl: expected, ..entry });
            }
        }
        assert_eq!(NearEntry::decode(Bytes::from_static(b"short")), None);
    }

    #[test]
    fn only_fresh_values_may_be_near() {
        let entry = |value: Bytes| Entry::new(value, Ttl::Forever, Stamp(0));
        assert_eq!(lifetime(&entry(Bytes::from_static(b"1"))), Some(Ttl::Forever));
        assert_eq!(lifetime(&entry(envelope::lease(1))), None);
        assert_eq!(lifetime(&entry(envelope::absent())), None);
        let floor = envelope::Terms { is_floor: true, revision: Some(1), ..Default::default() };
        assert_eq!(lifetime(&entry(envelope::wrap(b"", floor))), None);

        let grace = envelope::Terms { grace: Duration::from_secs(60), ..Default::default() };
        let with_grace = |secs| {
            let ttl = Ttl::Remaining(Duration::from_secs(secs));
            lifetime(&Entry { ttl, ..entry(envelope::wrap(b"1", grace)) })
        };
        assert_eq!(with_grace(70), Some(Ttl::Remaining(Duration::from_secs(10))));
        assert_eq!(with_grace(60), None, "a stale value");
    }
}
