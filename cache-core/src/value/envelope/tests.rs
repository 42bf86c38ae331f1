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

/// Reads bytes without tags.
fn find(stored: Bytes, left: Ttl) -> Found {
    let unverified = super::find(stored, left);
    assert_eq!(unverified.tags(), &Tags::default());
    unverified.verified(Validity::Valid)
}

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
    assert_eq!(TERMS.age(Ttl::Remaining(Duration::from_secs(50))), Some(Duration::from_secs(40)));
    assert_eq!(self::find(stored, Ttl::Forever), Found::Fresh(value, TERMS));
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
    assert_eq!(touched(&one, Found::Lease(7), Expiry::Never), None);
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

#[test]
fn revision_and_tags_of_an_entry_do_not_disturb_each_other() {
    let tag = |version| Tags::new(&[TagVersion { tag: 3, version }]).unwrap();
    let value = Bytes::from_static(b"[1]");
    let plain = at_revision(value.clone(), None, Some(7));
    let tagged = with_tags(&plain, &tag(1));
    assert_eq!((tags(&tagged), tags(&plain)), (tag(1), Tags::default()));
    let terms = Terms { revision: Some(7), ..Terms::default() };
    let unverified = super::find(tagged.clone(), Ttl::Forever);
    assert_eq!(unverified.clone().verified(Validity::Valid), Found::Fresh(value.clone(), terms));
    assert_eq!(unverified.verified(Validity::Invalid), Found::Invalid);
    assert_eq!(tags(&with_tags(&tagged, &tag(2))), tag(2));
    let newer = with_revision(&tagged, 8);
    assert_eq!(split(&newer).unwrap().0.revision, Some(8));
    assert_eq!(tags(&newer), tag(1));
    for expiry in [Expiry::Never, Expiry::After(Duration::from_secs(9))] {
        let found = Found::Fresh(value.clone(), terms);
        let touched = touched(&tagged, found, expiry).unwrap().0.unwrap();
        assert_eq!(split(&touched).unwrap().0.revision, Some(7));
        assert_eq!(tags(&touched), tag(1));
    }
}
