//! Entries that say more than their value: how long the value may be served after its lifetime, its
//! [revision](super::revision), its tags, or that there is no value.
//!
//! An entry is a [header] with these [fields](super::fields) around a stored value:
//!
//! | bytes | content |
//! |---|---|
//! | 20–27 | grace in milliseconds: the part of the lifetime in which the value is stale |
//! | 28–35 | lifetime before the grace in milliseconds, or zero |
//! | 36–39 | duration of the load in milliseconds |
//! | 40 | 1 if the loader found no value, 2 for a floor; the payload is then empty |
//! | 41–43 | zero |
//! | the next 8 | with the flag 0x0400: the [revision](super::revision) |
//! | the rest | with the flag 0x0800: the [tags](mod@tags), up to the end of the header |

mod tags;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::tags::{MAX_TAGS, TagVersion, Tags, Validity};
use super::{
    fields::{FIELDS, Fields},
    header::{self, LEN, TOKEN},
};
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
    /// A tag of the value was invalidated: there is no value any more.
    Invalid,
}

/// The result of a read of an entry, whose tags are not compared yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the tags are to be compared with their markers"]
pub(crate) struct Unverified {
    found: Found,
    tags: Tags,
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
    entry(value, terms, &[])
}

fn entry(value: &[u8], terms: Terms, tags: &[u8]) -> Bytes {
    let fields = Fields { base: &terms.to_base(), revision: terms.revision, tags };
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

/// Gives stored bytes, which may be an entry, another revision.
pub(super) fn with_revision(stored: &[u8], revision: u64) -> Bytes {
    let (terms, tags, value) = match header::read_envelope(stored) {
        Some((fields, value)) => (Terms::of_fields(fields), fields.tags, value),
        None => (Terms::default(), &[][..], stored),
    };
    entry(value, Terms { revision: Some(revision), ..terms }, tags)
}

/// Adds tags to stored bytes, which may be an entry. Tags that the entry has are replaced.
pub(crate) fn with_tags(stored: &[u8], tags: &Tags) -> Bytes {
    let (terms, value) = split(stored).unwrap_or((Terms::default(), stored));
    entry(value, terms, tags.as_bytes())
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

/// Returns whether stored bytes say that they are an entry with tags, without checking them.
pub(crate) fn has_tags(stored: &[u8]) -> bool {
    header::has_tags(stored)
}

/// Returns the tags of an entry; none for other bytes.
pub(crate) fn tags(stored: &Bytes) -> Tags {
    header::read_envelope(stored)
        .map_or_else(Tags::default, |(fields, _)| Tags::of_bytes(stored.slice_ref(fields.tags)))
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

/// Returns whether stored bytes are the lease of a fenced load.
pub(crate) fn is_lease(stored: &[u8]) -> bool {
    header::read_lease(stored).is_some()
}

/// Returns whether stored bytes are a lease or a floor, which are not values that existed.
pub(crate) fn is_lease_or_floor(stored: &[u8]) -> bool {
    is_lease(stored) || is_floor(stored)
}

/// Returns whether stored bytes are a floor: a deleted entry that keeps older values out.
pub(crate) fn is_floor(stored: &[u8]) -> bool {
    split(stored).is_some_and(|(terms, _)| terms.is_floor)
}

/// Takes a stored value out of its entry, of whose lifetime `left` remains. Bytes without an entry,
/// and bytes that cannot be read, are returned as they are.
pub(crate) fn find(stored: Bytes, left: Ttl) -> Unverified {
    if let Some(token) = header::read_lease(&stored) {
        let owner = token.first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
        return Unverified { found: Found::Lease(owner), tags: Tags::default() };
    }
    let Some((fields, value)) = header::read_envelope(&stored) else {
        let found = Found::Fresh(stored, Terms::default());
        return Unverified { found, tags: Tags::default() };
    };
    let tags = Tags::of_bytes(stored.slice_ref(fields.tags));
    let terms = Terms::of_fields(fields);
    let found = if terms.is_absent {
        Found::Absent
    } else if terms.is_floor {
        Found::Floor
    } else {
        let value = stored.slice_ref(value);
        match left {
            Ttl::Remaining(left) if left <= terms.grace => Found::Stale(value, terms),
            _ => Found::Fresh(value, terms),
        }
    };
    Unverified { found, tags }
}

/// Returns how a touch changes an entry whose value `found` is: its new bytes, or `None` if they
/// stay as they are, and its whole lifetime. `None` if the value is not fresh.
pub(crate) fn touched(
    stored: &Bytes,
    found: Found,
    expiry: Expiry,
) -> Option<(Option<Bytes>, Expiry)> {
    let Found::Fresh(value, terms) = found else { return None };
    let Some((fields, payload)) = header::read_envelope(stored) else {
        return Some((None, expiry));
    };
    // The cache does not read this entry.
    if payload.len() != value.len() {
        return Some((None, expiry));
    }
    let wrap = |terms: Terms| Some(entry(&value, terms, fields.tags));
    let revision = terms.revision;
    match expiry {
        Expiry::Never if revision.is_none() && fields.tags.is_empty() => {
            Some((Some(value), expiry))
        }
        Expiry::Never => Some((wrap(Terms { revision, ..Terms::default() }), expiry)),
        Expiry::After(lifetime) => {
            let whole = Expiry::After(lifetime.saturating_add(terms.grace));
            Some((wrap(Terms { lifetime, ..terms }), whole))
        }
    }
}

impl Unverified {
    /// An entry that the cache does not read: like bytes of another release, it is a value that
    /// cannot be decoded, and stays.
    pub(crate) fn unreadable(stored: Bytes) -> Self {
        Self { found: Found::Fresh(stored, Terms::default()), tags: Tags::default() }
    }

    /// Returns the tags of the entry; empty for one without tags.
    pub(crate) fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Returns what the entry says if its tags are in this state.
    pub(crate) fn verified(self, tags: Validity) -> Found {
        match (tags, self.found) {
            (Validity::Valid, found) | (_, found @ (Found::Lease(_) | Found::Floor)) => found,
            (Validity::Expired, Found::Fresh(value, terms) | Found::Stale(value, terms))
                if !terms.grace.is_zero() =>
            {
                Found::Stale(value, terms)
            }
            (Validity::Expired | Validity::Invalid, _) => Found::Invalid,
        }
    }

    /// Returns the stored value, fresh or stale, whether its tags are valid or not.
    pub(crate) fn into_value(self) -> Option<Bytes> {
        self.found.into_value()
    }
}

impl Found {
    pub(crate) fn has_grace(&self) -> bool {
        matches!(self, Self::Fresh(_, terms) | Self::Stale(_, terms) if !terms.grace.is_zero())
    }

    /// Returns whether a tag of the value was invalidated.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid)
    }

    /// Returns the stored value, fresh or stale.
    pub(crate) fn into_value(self) -> Option<Bytes> {
        match self {
            Self::Fresh(value, _) | Self::Stale(value, _) => Some(value),
            Self::Absent | Self::Floor | Self::Lease(_) | Self::Invalid => None,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
