//! Adds tags to values that are stored.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cache::Cache,
    consistency::{
        markers::Moment,
        tag_set::{TagSet, too_many},
    },
    error::Result,
    fetch::singleflight::Lead,
    layer::Operation,
    value::{
        Form,
        envelope::{self, TagVersion, Tags},
    },
};

/// The tags of a load, with their versions from before its loader ran.
#[derive(Clone, Debug)]
pub(in crate::cache) enum Declared {
    /// The load has these tags, or none.
    Tags(Option<Tags>),
    /// The versions could not be read: the loaded value is not stored.
    Unknown,
}

impl<V: Form> Cache<V> {
    /// Returns the current versions of tags.
    pub(in crate::cache) async fn tag_versions(&self, set: &TagSet) -> Result<Tags> {
        set.check()?;
        let versions = self.versions(&set.markers()).await;
        let mut tags = Vec::with_capacity(versions.len());
        for (tag, version) in set.iter().zip(versions) {
            tags.push(TagVersion { tag: tag.hash, version: version?.number() });
        }
        Tags::new(&tags).ok_or_else(|| too_many(tags.len()))
    }

    /// Returns the current versions of the tags of this handle, for a write.
    pub(in crate::cache) async fn own_tags(&self) -> Result<Option<Tags>> {
        match &self.tags {
            // Boxed because it is rare: it would enlarge the future of every write.
            Some(set) => Box::pin(self.tag_versions(set)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the stored form of a value with the tags of this handle, and with those of the old
    /// value that it was made of.
    pub(in crate::cache) fn with_tags_of_old(
        stored: Bytes,
        own: Option<&Tags>,
        old: Option<&Tags>,
    ) -> Result<Bytes> {
        let mut tags: Vec<TagVersion> = old.into_iter().flat_map(Tags::iter).collect();
        for tag in own.into_iter().flat_map(Tags::iter) {
            // The old value is valid, so the versions are equal or this one is from before.
            if !tags.iter().any(|it| it.tag == tag.tag) {
                tags.push(tag);
            }
        }
        if tags.is_empty() {
            return Ok(stored);
        }
        let tags = Tags::new(&tags).ok_or_else(|| too_many(tags.len()))?;
        Ok(envelope::with_tags(&stored, &tags))
    }

    /// Declares the tags of loads before their loader runs: an invalidation that begins later ends
    /// the loads for later callers, and makes the value invalid. `stores` is false if the value is
    /// not stored.
    pub(in crate::cache) async fn declare(
        &self,
        set: Option<&TagSet>,
        leads: impl Iterator<Item = &Lead>,
        stores: bool,
    ) -> Declared {
        let Some(set) = set else { return Declared::Tags(None) };
        // First: of an invalidation that does not see the loads, the versions are read below.
        for lead in leads {
            lead.add_tags(set.hashes());
        }
        if !stores {
            return Declared::Unknown;
        }
        match self.tag_versions(set).await {
            Ok(tags) => Declared::Tags(Some(tags)),
            Err(error) => {
                // As with a loaded value that could not be stored.
                let _ = self.fail(Operation::Set, None, error);
                self.load_write_failed();
                Declared::Unknown
            }
        }
    }
}

impl<V: Form> Cache<V> {
    /// Adds the tags that a loader named while it ran. Of those whose version was not known before
    /// `began`, an invalidation during the load may have gone unnoticed, so the value is not
    /// stored.
    pub(in crate::cache) async fn add_late(
        &self,
        declared: Declared,
        names: &[String],
        began: Moment,
    ) -> Result<Declared> {
        let late = self.tag_set(None, names);
        late.check()?;
        let Declared::Tags(early) = declared else { return Ok(declared) };
        let mut tags: Vec<_> = early.iter().flat_map(Tags::iter).collect();
        let mut unknown = Vec::new();
        for tag in late.iter() {
            if tags.iter().any(|it| it.tag == tag.hash) {
                continue;
            }
            match tag.marker.known_before(began) {
                Some(version) => {
                    tags.push(TagVersion { tag: tag.hash, version: version.number() });
                }
                None => unknown.push(Arc::clone(&tag.marker)),
            }
        }
        if !unknown.is_empty() {
            // For the next load. If it fails, that load does not store its value either.
            let _ = self.versions(&unknown).await;
            return Ok(Declared::Unknown);
        }
        let tags = Tags::new(&tags).ok_or_else(|| too_many(tags.len()))?;
        Ok(Declared::Tags(Some(tags)))
    }
}

impl Declared {
    /// Returns whether the loaded value may be stored.
    pub(in crate::cache) fn stores(&self) -> bool {
        matches!(self, Self::Tags(_))
    }

    /// Adds the tags to the stored form of a loaded value.
    pub(in crate::cache) fn tag(&self, stored: Bytes) -> Bytes {
        match self {
            Self::Tags(Some(tags)) => envelope::with_tags(&stored, tags),
            Self::Tags(None) | Self::Unknown => stored,
        }
    }
}
