//! Entries that say more than their value: how long the value may be served after its lifetime, its
//! [revision](super::revision), or that there is no value.
//!
//! An entry is a [header] with these fields around a stored value:
//!
//! | bytes | content |
//! |---|---|
//! | 20–27 | grace in milliseconds: the part of the lifetime in which the value is stale |
//! | 28–35 | lifetime before the grace in milliseconds, or zero |
//! | 36–39 | duration of the load in milliseconds |
//! | 40 | 1 if the loader found no value, 2 for a floor; the payload is then empty |
//! | 41–43 | zero |
//! | 44–51 | with the flag 0x0400: the [revision](super::revision) |

use std::time::Duration;

use bytes::Bytes;

use super::header::{self, FIELDS, Fields, LEN, TOKEN};
use crate::{
    runtime::random,
    timeout::{Expiry, Ttl},
};

/// The fields of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The end of the stored lifetime in which the value is stale.
    pub(crate) grace: Duration,
    /// The lifetime before the grace; zero if unknown.
    pub(crate) lifetime: Duration,
    /// The duration of the load.
    pub(crate) load_time: Duration,
    /// Whether the loader found no value.
    pub(crate) is_absent: bool,
    /// Whether it is a floor: a deleted entry, whose revision keeps older values out.
    pub(crate) is_floor: bool,
    /// The revision of the value, of its absence or of the floor.
    pub(crate) revision: Option<u64>,
}

/// A stored value as a read of its entry finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The lifetime before the grace has not ended.
    Fresh(Bytes, Terms),
    /// The lifetime has ended, and the grace has not.
    Stale(Bytes, Terms),
    /// The loader found no value.
    Absent,
    /// The value was deleted, and older values are kept out.
    Floor,
    /// A fenced load of this owner is under way: there is no value yet.
    Lease(u64),
}

/// The values of byte 40.
const ABSENT: u8 = 1;
const FLOOR: u8 = 2;

impl Terms {
    /// Returns the time since the entry was written, if `left` remains of its whole lifetime.
    pub(crate) fn age(&self, left: Ttl) -> Option<Duration> {
        match left {
            Ttl::Remaining(left) if !self.lifetime.is_zero() => {
                Some((self.lifetime + self.grace).saturating_sub(left))
            }
            _ => None,
        }
    }

    fn to_base(self) -> [u8; FIELDS] {
        let mut base = [0; FIELDS];
        base[..8].copy_from_slice(&millis(self.grace).to_le_bytes());
        base[8..16].copy_from_slice(&millis(self.lifetime).to_le_bytes());
        let load = u32::try_from(millis(self.load_time)).unwrap_or(u32::MAX);
        base[16..20].copy_from_slice(&load.to_le_bytes());
        base[20] = if self.is_floor { FLOOR } else { self.is_absent.into() };
        base
    }

    fn of_fields(fields: Fields<'_>) -> Self {
        let (grace, rest) = fields.base.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let (lifetime, rest) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let (load_time, rest) = rest.split_first_chunk().unwrap_or((&[0; 4], &[]));
        Self {
            grace: Duration::from_millis(u64::from_le_bytes(*grace)),
            lifetime: Duration::from_millis(u64::from_le_bytes(*lifetime)),
            load_time: Duration::from_millis(u32::from_le_bytes(*load_time).into()),
            is_absent: rest.first() == Some(&ABSENT),
            is_floor: rest.first() == Some(&FLOOR),
            revision: fields.revision,
        }
    }
}

/// Puts a stored value into an entry.
pub(crate) fn wrap(value: &[u8], terms: Terms) -> Bytes {
    let fields = Fields { base: &terms.to_base(), revision: terms.revision };
    header::envelope(fields, value).into()
}

/// Puts a stored value with a revision into an entry.
pub(crate) fn at_revision(
    value: Bytes,
    expiry: impl Into<Option<Expiry>>,
    revision: Option<u64>,
) -> Bytes {
    if revision.is_none() {
        return value;
    }
    let lifetime = match expiry.into() {
        Some(Expiry::After(lifetime)) => lifetime,
        Some(Expiry::Never) | None => Duration::ZERO,
    };
    wrap(&value, Terms { lifetime, revision, ..Terms::default() })
}

/// Takes an entry apart into its terms and its stored value; `None` if the bytes are not an entry.
pub(super) fn split(stored: &[u8]) -> Option<(Terms, &[u8])> {
    header::read_envelope(stored).map(|(fields, value)| (Terms::of_fields(fields), value))
}

/// Returns the entry of a loader that found no value.
pub(crate) fn absent() -> Bytes {
    absent_at(None)
}

/// Returns the entry of a loader that found no value at a revision.
pub(crate) fn absent_at(revision: Option<u64>) -> Bytes {
    wrap(b"", Terms { is_absent: true, revision, ..Terms::default() })
}

/// Returns whether stored bytes say that the loader found no value.
pub(crate) fn is_absent(stored: &[u8]) -> bool {
    split(stored).is_some_and(|(terms, _)| terms.is_absent)
}

/// Returns a new lease: the entry of a key while a fenced load of it runs. Its token is the number
/// of its owner, so that a cache knows its own leases, and a random number, so that no two leases
/// are equal.
pub(crate) fn lease(owner: u64) -> Bytes {
    let mut stored = [0; LEN + TOKEN];
    stored[LEN..LEN + 8].copy_from_slice(&owner.to_le_bytes());
    stored[LEN + 8..].copy_from_slice(&random().to_le_bytes());
    header::fill_lease(&mut stored);
    Bytes::copy_from_slice(&stored)
}

/// Returns whether stored bytes are a lease or a floor, which are not values that existed.
pub(crate) fn is_lease_or_floor(stored: &[u8]) -> bool {
    header::read_lease(stored).is_some() || is_floor(stored)
}

/// Returns whether stored bytes are a floor: a deleted entry that keeps older values out.
pub(crate) fn is_floor(stored: &[u8]) -> bool {
    split(stored).is_some_and(|(terms, _)| terms.is_floor)
}

/// Takes a stored value out of its entry, of whose lifetime `left` remains. Bytes without an entry,
/// and bytes that cannot be read, are returned as they are.
pub(crate) fn find(stored: Bytes, left: Ttl) -> Found {
    if let Some(token) = header::read_lease(&stored) {
        let owner = token.first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
        return Found::Lease(owner);
    }
    let Some((terms, value)) = split(&stored) else {
        return Found::Fresh(stored, Terms::default());
    };
    if terms.is_absent {
        return Found::Absent;
    }
    if terms.is_floor {
        return Found::Floor;
    }
    let value = stored.slice_ref(value);
    match left {
        Ttl::Remaining(left) if left <= terms.grace => Found::Stale(value, terms),
        _ => Found::Fresh(value, terms),
    }
}

/// Returns how a touch changes an entry: its new bytes, or `None` if they stay as they are, and its
/// whole lifetime. `None` if the value is not fresh.
pub(crate) fn touched(
    stored: &Bytes,
    left: Ttl,
    expiry: Expiry,
) -> Option<(Option<Bytes>, Expiry)> {
    match (find(stored.clone(), left), expiry) {
        (Found::Stale(..) | Found::Absent | Found::Floor | Found::Lease(_), _) => None,
        (Found::Fresh(value, _), _) if value.len() == stored.len() => Some((None, expiry)),
        (Found::Fresh(value, Terms { revision: None, .. }), Expiry::Never) => {
            Some((Some(value), expiry))
        }
        (Found::Fresh(value, Terms { revision, .. }), Expiry::Never) => {
            Some((Some(wrap(&value, Terms { revision, ..Terms::default() })), expiry))
        }
        (Found::Fresh(value, terms), Expiry::After(lifetime)) => {
            let whole = Expiry::After(lifetime.saturating_add(terms.grace));
            Some((Some(wrap(&value, Terms { lifetime, ..terms })), whole))
        }
    }
}

impl Found {
    /// Returns the stored value, fresh or stale.
    pub(crate) fn into_value(self) -> Option<Bytes> {
        match self {
            Self::Fresh(value, _) | Self::Stale(value, _) => Some(value),
            Self::Absent | Self::Floor | Self::Lease(_) => None,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Codec,
        value::{Compression, Compressor, Pipeline, Undecodable, payload_len},
    };

    const TERMS: Terms = Terms {
        grace: Duration::from_secs(60),
        lifetime: Duration::from_secs(30),
        load_time: Duration::from_millis(7),
        is_absent: false,
        is_floor: false,
        revision: None,
    };

    fn pipeline() -> Pipeline {
        Pipeline::new(Codec::Json, None, Compressor::new(Compression::None, 0, None))
    }

    #[test]
    fn value_is_fresh_while_more_than_its_grace_remains() {
        let value = Bytes::from_static(b"[1,2]");
        let stored = wrap(&value, TERMS);
        let find = |left| find(stored.clone(), Ttl::Remaining(Duration::from_millis(left)));
        assert_eq!(find(60_001), Found::Fresh(value.clone(), TERMS));
        assert_eq!(find(60_000), Found::Stale(value.clone(), TERMS));
        assert_eq!(
            TERMS.age(Ttl::Remaining(Duration::from_secs(50))),
            Some(Duration::from_secs(40))
        );
        assert_eq!(super::find(stored, Ttl::Forever), Found::Fresh(value, TERMS));
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        for bytes in [&b"7"[..], b"\xc1\xca", b"\xc1\xcaodd"] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert_eq!(find(bytes.clone(), Ttl::Forever), Found::Fresh(bytes, Terms::default()));
        }
    }

    #[test]
    fn size_of_an_entry_is_the_size_of_its_value() {
        let value = pipeline().seal_bytes(b"\xc1\xca").unwrap();
        assert_eq!(payload_len(&wrap(&value, TERMS)), 2);
        assert_eq!(payload_len(&wrap(b"[1]", TERMS)), 3);
        assert_eq!(payload_len(&absent()), 0);
    }

    #[test]
    fn absence_is_no_value() {
        assert!(is_absent(&absent()) && !is_absent(b"null"));
        assert_eq!(find(absent(), Ttl::Forever), Found::Absent);
    }

    #[test]
    fn checksum_of_an_entry_leaves_the_payload_to_a_header_in_it() {
        let pipeline = pipeline();
        // Bytes that begin like a header get one.
        let value = pipeline.seal_bytes(&[&b"\xc1\xca"[..], &[7; 100]].concat()).unwrap();
        let stored = wrap(&value, TERMS);
        let damaged = |place: usize| {
            let mut bytes = stored.to_vec();
            bytes[place] ^= 1;
            Bytes::from(bytes)
        };
        let last = damaged(stored.len() - 1);
        let Found::Fresh(payload, TERMS) = find(last, Ttl::Forever) else { panic!("not fresh") };
        assert_eq!(payload.len(), value.len(), "its checksum covers the payload");
        // Whichever covers a byte, its damage shows.
        for place in 2..stored.len() {
            let Found::Fresh(payload, _) = find(damaged(place), Ttl::Forever) else { panic!() };
            let why = pipeline.open_bytes(&payload).unwrap_err();
            assert_eq!(why, Undecodable::Damaged, "byte {place}");
        }
    }

    #[test]
    fn leases_are_no_values_and_differ() {
        let (one, two) = (lease(7), lease(7));
        assert_ne!(one, two);
        assert!(is_lease_or_floor(&one) && !is_absent(&one));
        assert!(!is_lease_or_floor(&absent()) && !is_lease_or_floor(b"7"));
        assert_eq!(find(one.clone(), Ttl::Forever), Found::Lease(7));
        assert_eq!(touched(&one, Ttl::Forever, Expiry::Never), None);
    }

    #[test]
    fn neither_entry_nor_lease_is_read_as_plain_bytes() {
        let pipeline = pipeline();
        for stored in [wrap(b"[1]", TERMS), lease(7)] {
            let read = pipeline.open::<Vec<u8>>(&stored);
            assert!(matches!(read, Err(Undecodable::Foreign(_))), "{read:?}");
            assert!(pipeline.open_bytes(&stored).is_err());
        }
    }
}
