//! The fields of an entry.
//!
//! | bytes | content |
//! |---|---|
//! | 20–43 | the fields that each [entry](super::envelope) has |
//! | the next 8 | with the flag 0x0400: the revision |
//! | the rest | with the flag 0x0800: the [tags](super::envelope::Tags), up to the end of the header |

/// The payload is a stored value, and the header has the fields of its [entry](super::envelope).
/// Low flags are for the form of payloads.
pub(super) const ENVELOPE: u16 = 0x0100;
/// The fields of an entry contain its [revision](super::revision).
const REVISION: u16 = 0x0400;
/// The fields of an entry end with its [tags](super::envelope::Tags).
pub(super) const TAGS: u16 = 0x0800;

/// The length of the fields that each entry has.
pub(super) const FIELDS: usize = 24;

/// The length of a tag in the header of an entry, and the maximum number of tags.
pub(super) const TAG: usize = 16;
pub(crate) const MAX_TAGS: usize = 64;

/// The fields of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// Those that each entry has.
    pub(super) base: &'a [u8; FIELDS],
    pub(super) revision: Option<u64>,
    /// Its tags, [`TAG`] bytes each.
    pub(super) tags: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Splits the fields that these flags announce. Without tags, skips those behind them. `None`
    /// if some are missing, or a flag is unknown.
    pub(super) fn of(fields: &'a [u8], flags: u16) -> Option<Self> {
        if flags & !(ENVELOPE | REVISION | TAGS) != 0 {
            return None;
        }
        let (base, mut rest) = fields.split_first_chunk()?;
        let mut revision = None;
        if flags & REVISION != 0 {
            let (bytes, behind) = rest.split_first_chunk()?;
            (revision, rest) = (Some(u64::from_le_bytes(*bytes)), behind);
        }
        if flags & TAGS == 0 {
            return Some(Self { base, revision, tags: &[] });
        }
        let (tags, odd) = rest.as_chunks::<TAG>();
        let is_right = odd.is_empty() && (1..=MAX_TAGS).contains(&tags.len());
        is_right.then_some(Self { base, revision, tags: rest })
    }

    /// Appends the fields to the 20 bytes that every header has. Returns the flags that announce
    /// them.
    pub(super) fn write(&self, stored: &mut Vec<u8>) -> u16 {
        let mut flags = ENVELOPE;
        stored.extend_from_slice(self.base);
        if let Some(revision) = self.revision {
            stored.extend_from_slice(&revision.to_le_bytes());
            flags |= REVISION;
        }
        if !self.tags.is_empty() {
            stored.extend_from_slice(self.tags);
            flags |= TAGS;
        }
        flags
    }
}
