//! The tags of an entry.
//!
//! | bytes | content |
//! |---|---|
//! | 0–7 | hash of the tag's name |
//! | 8–15 | version of the tag's marker when the entry was written, or when its load began |
//!
//! An entry is valid while the markers of all its tags have these versions.

use bytes::Bytes;

pub(crate) use crate::value::fields::MAX_TAGS;
use crate::value::fields::TAG;

/// A tag of an entry, and the version of its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagVersion {
    /// The hash of the tag's name.
    pub(crate) tag: u64,
    pub(crate) version: u64,
}

/// The tags of an entry, as its header has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(Bytes);

/// The state of the tags of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Validity {
    /// All markers have the versions of the entry.
    Valid,
    /// A tag was expired: the value may only be served stale.
    Expired,
    /// A tag was invalidated, or its marker was lost.
    Invalid,
}

impl Tags {
    /// Returns tags with their versions; `None` if an entry cannot have so many.
    pub(crate) fn new(tags: &[TagVersion]) -> Option<Self> {
        if tags.len() > MAX_TAGS {
            return None;
        }
        let bytes = tags.iter().flat_map(|it| [it.tag.to_le_bytes(), it.version.to_le_bytes()]);
        Some(Self(bytes.flatten().collect()))
    }

    pub(super) fn of_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = TagVersion> {
        self.0.as_chunks::<TAG>().0.iter().filter_map(|it| {
            let (tag, version) = it.split_first_chunk()?;
            let version = version.first_chunk()?;
            Some(TagVersion {
                tag: u64::from_le_bytes(*tag),
                version: u64::from_le_bytes(*version),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Codec,
        timeout::{Expiry, Ttl},
        value::{
            Compression, Compressor, Pipeline, Undecodable,
            envelope::{Found, Terms, absent, find, is_absent, lease, touched, with_tags, wrap},
            payload_len,
        },
    };

    const TERMS: Terms = Terms {
        grace: Duration::from_secs(60),
        lifetime: Duration::from_secs(30),
        load_time: Duration::from_millis(7),
        is_absent: false,
        is_floor: false,
        revision: None,
    };

    fn tags(count: u64) -> Tags {
        let tags: Vec<_> =
            (0..count).map(|it| TagVersion { tag: it << 40, version: u64::MAX - it }).collect();
        Tags::new(&tags).unwrap()
    }

    fn verified(stored: &Bytes, validity: Validity) -> Found {
        find(stored.clone(), Ttl::Forever).verified(validity)
    }

    #[test]
    fn tags_come_back_with_the_value_and_the_terms() {
        for count in [1, 2, 64] {
            let plain = with_tags(b"[1]", &tags(count));
            let read = find(plain.clone(), Ttl::Forever);
            assert_eq!(read.tags(), &tags(count));
            assert_eq!(read.tags().iter().count() as u64, count);
            assert_eq!(
                read.verified(Validity::Valid),
                Found::Fresh(b"[1]"[..].into(), Terms::default())
            );
            let with_grace = with_tags(&wrap(b"[1]", TERMS), &tags(count));
            let found = verified(&with_grace, Validity::Valid);
            assert_eq!(found, Found::Fresh(b"[1]"[..].into(), TERMS));
            assert_eq!((payload_len(&plain), payload_len(&with_grace)), (3, 3));
        }
        let again = with_tags(&with_tags(b"[1]", &tags(3)), &tags(1));
        assert_eq!(again, with_tags(b"[1]", &tags(1)), "replaced");
    }

    #[test]
    fn an_entry_has_at_most_64_tags() {
        let tags = vec![TagVersion { tag: 1, version: 2 }; 65];
        assert_eq!(Tags::new(&tags), None);
        assert!(Tags::new(&tags[1..]).is_some());
    }

    #[test]
    fn invalid_value_is_none_and_expired_one_is_stale_if_it_has_a_grace() {
        let plain = with_tags(b"[1]", &tags(1));
        let graced = with_tags(&wrap(b"[1]", TERMS), &tags(1));
        for validity in [Validity::Expired, Validity::Invalid] {
            assert_eq!(verified(&plain, validity), Found::Invalid);
            assert_eq!(verified(&with_tags(&absent(), &tags(1)), validity), Found::Invalid);
            assert_eq!(verified(&lease(7), validity), Found::Lease(7));
        }
        assert_eq!(verified(&graced, Validity::Invalid), Found::Invalid);
        let stale = Found::Stale(b"[1]"[..].into(), TERMS);
        assert_eq!(verified(&graced, Validity::Expired), stale);
    }

    #[test]
    fn absence_may_have_tags() {
        let absent = with_tags(&absent(), &tags(2));
        assert!(is_absent(&absent));
        assert_eq!(verified(&absent, Validity::Valid), Found::Absent);
    }

    #[test]
    fn touched_entry_keeps_its_tags() {
        for (stored, expiry, whole) in [
            (with_tags(b"[1]", &tags(2)), Expiry::Never, Expiry::Never),
            (with_tags(&wrap(b"[1]", TERMS), &tags(2)), Expiry::Never, Expiry::Never),
            (
                with_tags(&wrap(b"[1]", TERMS), &tags(2)),
                Expiry::After(Duration::from_secs(5)),
                Expiry::After(Duration::from_secs(65)),
            ),
        ] {
            let found = verified(&stored, Validity::Valid);
            let (new, lifetime) = touched(&stored, found, expiry).unwrap();
            assert_eq!(lifetime, whole);
            let read = find(new.unwrap(), Ttl::Forever);
            assert_eq!(read.tags(), &tags(2));
            assert_eq!(read.into_value().as_deref(), Some(&b"[1]"[..]));
        }
        assert_eq!(touched(&with_tags(b"1", &tags(1)), Found::Invalid, Expiry::Never), None);
    }

    #[test]
    fn damage_of_tags_shows_and_a_cache_without_tags_does_not_read_them() {
        let compressor = Compressor::new(Compression::None, 0, None);
        let pipeline = Pipeline::new(Codec::Json, None, compressor);
        let inner = pipeline.seal_bytes(&[&b"\xc1\xca"[..], &[7; 100]].concat()).unwrap();
        for value in [Bytes::from_static(b"[1]"), inner] {
            let stored = with_tags(&value, &tags(3));
            let why = pipeline.open_bytes(&stored).unwrap_err();
            let Undecodable::Foreign(why) = why else { panic!("{why:?}") };
            assert!(why.contains("`tags = true`"), "{why}");
            for place in 2..stored.len() {
                let mut bytes = stored.to_vec();
                bytes[place] ^= 1;
                let found = verified(&bytes.into(), Validity::Valid);
                let Found::Fresh(payload, _) = found else { panic!("{place}: {found:?}") };
                let why = pipeline.open_bytes(&payload).unwrap_err();
                assert_eq!(why, Undecodable::Damaged, "byte {place}");
            }
        }
    }
}
