use std::{fmt, sync::Arc};

use super::markers::Marker;
use crate::{
    error::{Error, ErrorKind, Result},
    value::envelope::MAX_TAGS,
};

/// The tags that a handle or a fetch gives to the values that it stores.
#[derive(Clone, Default)]
pub(crate) struct TagSet {
    /// By hash, without duplicates.
    tags: Vec<Tag>,
    /// The reason why nothing can be stored with these tags.
    fault: Option<Error>,
}

/// A tag, which entries name by its hash.
#[derive(Clone)]
pub(crate) struct Tag {
    pub(crate) hash: u64,
    pub(crate) marker: Arc<Marker>,
}

impl TagSet {
    /// Adds a tag, unless it is there.
    pub(crate) fn add(&mut self, name: &str, marker: impl FnOnce(u64) -> Arc<Marker>) {
        if name.is_empty() {
            self.refuse(Error::new(ErrorKind::Config, "a tag is empty"));
        }
        let hash = hash(name);
        if !self.hashes().any(|it| it == hash) {
            self.tags.push(Tag { hash, marker: marker(hash) });
        }
    }

    /// Lets every call with these tags return an error.
    pub(crate) fn refuse(&mut self, fault: Error) {
        self.fault = Some(fault);
    }

    /// Checks that an entry can have these tags.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_names()?;
        if self.tags.len() > MAX_TAGS {
            return Err(too_many(self.tags.len()));
        }
        Ok(())
    }

    /// Checks that these are tags, however many.
    pub(crate) fn check_names(&self) -> Result<()> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter()
    }

    pub(crate) fn markers(&self) -> Vec<Arc<Marker>> {
        self.tags.iter().map(|it| Arc::clone(&it.marker)).collect()
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.tags.iter().map(|it| it.hash)
    }
}

impl fmt::Debug for TagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagSet").field("count", &self.tags.len()).finish_non_exhaustive()
    }
}

/// Returns the number by which entries name a tag: FNV-1a, mixed so that similar names differ in
/// all bits. Two tags with one number would only be invalidated together. Every release computes it
/// in this way, because entries and markers are shared.
fn hash(tag: &str) -> u64 {
    let hash = tag.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// Returns the error of an entry with too many tags.
#[cold]
pub(crate) fn too_many(count: usize) -> Error {
    let what = format!("too many tags: {count} of at most {MAX_TAGS} for one entry");
    Error::new(ErrorKind::Config, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_a_tag_never_changes() {
        assert_eq!(hash(""), 0x8570_e250_fe4c_2473);
        assert_eq!(hash("user:7"), 0x04c8_00f7_8986_c1be);
        assert_eq!(hash("user:8"), 0x4901_bb0f_8e93_7cbc);
    }
}
