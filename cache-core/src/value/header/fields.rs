//! The fields of an entry.
//!
//! | bytes | content |
//! |---|---|
//! | 20–43 | the fields that each [entry](crate::value::envelope) has |
//! | 44–51 | with the flag 0x0400: the revision |

/// The payload is a stored value, and the header has the fields of its
/// [entry](crate::value::envelope). Low flags are for the form of payloads.
pub(super) const ENVELOPE: u16 = 0x0100;
/// The fields of an entry contain its [revision](crate::value::revision).
const REVISION: u16 = 0x0400;

/// The length of the fields that each entry has.
pub(in crate::value) const FIELDS: usize = 24;

/// The fields of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::value) struct Fields<'a> {
    /// Those that each entry has.
    pub(in crate::value) base: &'a [u8; FIELDS],
    pub(in crate::value) revision: Option<u64>,
}

impl<'a> Fields<'a> {
    /// Splits the fields that these flags announce, and skips those behind them. `None` if some are
    /// missing, or a flag is unknown.
    pub(super) fn of(fields: &'a [u8], flags: u16) -> Option<Self> {
        if flags & !(ENVELOPE | REVISION) != 0 {
            return None;
        }
        let (base, rest) = fields.split_first_chunk()?;
        let revision = if flags & REVISION == 0 {
            None
        } else {
            let (revision, _) = rest.split_first_chunk()?;
            Some(u64::from_le_bytes(*revision))
        };
        Some(Self { base, revision })
    }

    /// Appends the fields to the 20 bytes that every header has. Returns the flags that announce
    /// them.
    pub(super) fn write(&self, stored: &mut Vec<u8>) -> u16 {
        stored.extend_from_slice(self.base);
        let Some(revision) = self.revision else { return ENVELOPE };
        stored.extend_from_slice(&revision.to_le_bytes());
        ENVELOPE | REVISION
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::value::{
        envelope::{self, Terms},
        header::{Corrupt, Stored, read, tests::foreign},
    };

    const BOTH: u16 = ENVELOPE | REVISION;

    #[test]
    fn revision_lies_behind_the_fields_of_each_entry() {
        for revision in [0, 7, u64::MAX] {
            let terms = Terms { revision: Some(revision), ..Terms::default() };
            let stored = envelope::wrap(b"[1]", terms);
            let fields = [&[0; FIELDS][..], &revision.to_le_bytes()].concat();
            assert_eq!(stored, foreign(BOTH, 0, &fields, b"[1]"));
            assert_eq!(envelope::split(&stored), Some((terms, &b"[1]"[..])));
        }
    }

    #[test]
    fn missing_field_or_unknown_flag_is_of_a_newer_release() {
        for len in [0, 23, 24, 31] {
            let stored = foreign(BOTH, 0, &vec![0; len], b"x");
            assert_eq!(read(&stored), Err(Corrupt::Newer), "{len} bytes of fields");
        }
        for flag in (0..16).map(|it| 1 << it).filter(|it| BOTH & it == 0) {
            let stored = foreign(BOTH | flag, 0, &[0; 32], b"x");
            assert_eq!(read(&stored), Err(Corrupt::Newer), "{flag:#06x}");
        }
        assert_eq!(read(&foreign(REVISION, 0, &[0; 32], b"x")), Err(Corrupt::Newer));
    }

    #[test]
    fn further_fields_are_skipped() {
        for more in [0, 1, 16, 1000] {
            let fields = [&[0; FIELDS][..], &7_u64.to_le_bytes(), &vec![9; more]].concat();
            let read_fields = Fields { base: &[0; FIELDS], revision: Some(7) };
            let stored = foreign(BOTH, 0, &fields, b"x");
            assert_eq!(read(&stored), Ok(Stored::Envelope(read_fields, b"x")), "{more} bytes");
        }
    }

    #[test]
    fn damaged_entry_has_no_revision() {
        let terms = Terms { revision: Some(7), ..Terms::default() };
        let stored = envelope::wrap(b"[1]", terms);
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(envelope::split(&Bytes::from(bad)), None, "bit {bit}");
        }
        for len in 0..stored.len() {
            assert_eq!(envelope::split(&stored[..len]), None, "cut to {len}");
        }
    }
}
