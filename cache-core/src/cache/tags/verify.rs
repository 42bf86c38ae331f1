//! Compares the tags of entries with their markers, when the entries are read.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use super::expire::is_expired;
use crate::{
    cache::Cache,
    consistency::markers::Version,
    error::Result,
    store::Entry,
    timeout::Ttl,
    value::{
        Form,
        envelope::{self, Found, TagVersion, Tags, Unverified, Validity},
    },
};

impl<V: Form> Cache<V> {
    /// Returns what an entry says, of whose lifetime `left` remains. A value with an invalid tag
    /// counts as absent.
    ///
    /// # Errors
    /// That of the store, if the markers of the tags cannot be read.
    pub(in crate::cache) async fn verified(&self, stored: Bytes, left: Ttl) -> Result<Found> {
        let unverified = self.unverified(stored, left);
        if unverified.tags().is_empty() {
            return Ok(unverified.verified(Validity::Valid));
        }
        // Boxed because it is rare: it would enlarge the future of every read.
        let validity = Box::pin(self.validity(unverified.tags())).await?;
        Ok(unverified.verified(validity))
    }

    /// Returns the same as [`verified`](Self::verified); `None` if this has to wait for markers.
    pub(in crate::cache) fn verified_at_once(&self, stored: Bytes, left: Ttl) -> Option<Found> {
        let unverified = self.unverified(stored, left);
        let validity = self.remembered_validity(unverified.tags())?;
        Some(unverified.verified(validity))
    }

    /// Returns what an entry says if its tags are valid.
    fn unverified(&self, stored: Bytes, left: Ttl) -> Unverified {
        if !self.shared.fetch.tags && envelope::has_tags(&stored) {
            return Unverified::unreadable(stored);
        }
        envelope::find(stored, left)
    }

    /// Returns what entries of a batch say. Their markers are read with one call of the store.
    pub(in crate::cache) async fn verified_many(
        &self,
        entries: Vec<Result<Option<(Bytes, Ttl)>>>,
    ) -> Vec<Result<Option<Found>>> {
        let mut tagged = Vec::new();
        let mut found: Vec<_> = Vec::with_capacity(entries.len());
        for (place, entry) in entries.into_iter().enumerate() {
            found.push(match entry {
                Ok(Some((stored, left))) => {
                    let unverified = self.unverified(stored, left);
                    if unverified.tags().is_empty() {
                        Ok(Some(unverified.verified(Validity::Valid)))
                    } else {
                        tagged.push((place, unverified));
                        Ok(None)
                    }
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            });
        }
        if tagged.is_empty() {
            return found;
        }
        let tags: Vec<&Tags> = tagged.iter().map(|(_, it)| it.tags()).collect();
        let validities = Box::pin(self.validities(&tags)).await;
        for ((place, unverified), validity) in tagged.into_iter().zip(validities) {
            found[place] = validity.map(|it| Some(unverified.verified(it)));
        }
        found
    }

    /// Returns the stored value of an entry whose timeout has not passed.
    pub(in crate::cache) async fn fresh(&self, entry: Option<Entry>) -> Result<Option<Bytes>> {
        let Some(entry) = entry else { return Ok(None) };
        Ok(match self.verified(entry.value, entry.ttl).await? {
            Found::Fresh(stored, _) => Some(stored),
            _ => None,
        })
    }

    pub(in crate::cache) async fn is_fresh(&self, entry: &Entry) -> Result<bool> {
        let found = self.verified(entry.value.clone(), entry.ttl).await?;
        Ok(matches!(found, Found::Fresh(..)))
    }

    /// Returns the remaining lifetime of an entry for a change with a revision: an entry with an
    /// invalid tag is past its timeout, so another value of its revision replaces it.
    pub(in crate::cache) async fn left_of(&self, entry: &Entry) -> Result<Ttl> {
        if !self.shared.fetch.tags {
            return Ok(entry.ttl);
        }
        let found = self.verified(entry.value.clone(), entry.ttl).await?;
        Ok(if found.is_invalid() { Ttl::Remaining(Duration::ZERO) } else { entry.ttl })
    }

    /// Returns the state of the tags of an entry.
    async fn validity(&self, tags: &Tags) -> Result<Validity> {
        let mut validities = self.validities(&[tags]).await;
        validities.pop().unwrap_or(Ok(Validity::Invalid))
    }

    /// Returns the state of the tags of entries. The markers that are not remembered are read with
    /// one call of the store.
    async fn validities(&self, entries: &[&Tags]) -> Vec<Result<Validity>> {
        let mut places = HashMap::new();
        let mut markers = Vec::new();
        for tag in entries.iter().flat_map(|it| it.iter()) {
            places.entry(tag.tag).or_insert_with(|| {
                markers.push(self.tag_marker(tag.tag));
                markers.len() - 1
            });
        }
        let versions = self.versions(&markers).await;
        let compare = |tag: TagVersion| match places.get(&tag.tag).and_then(|it| versions.get(*it))
        {
            Some(Ok(version)) => Ok(compared(tag.version, *version)),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(Validity::Invalid),
        };
        entries.iter().map(|tags| worst(tags.iter().map(compare))).collect()
    }

    /// Returns the state of the tags of an entry if all their markers are remembered.
    pub(in crate::cache) fn remembered_validity(&self, tags: &Tags) -> Option<Validity> {
        let mut validity = Validity::Valid;
        for tag in tags.iter() {
            let version = self.known_version(&self.tag_marker(tag.tag))?;
            validity = validity.max(compared(tag.version, version));
        }
        Some(validity)
    }
}

/// Returns the state of a tag whose version in an entry is `seen`.
fn compared(seen: u64, current: Version) -> Validity {
    match current.number() {
        it if it == seen => Validity::Valid,
        it if is_expired(seen, it) => Validity::Expired,
        _ => Validity::Invalid,
    }
}

/// Returns the state of an entry with tags in these states. One that is surely invalid decides,
/// even if the marker of another one could not be read.
fn worst(tags: impl Iterator<Item = Result<Validity>>) -> Result<Validity> {
    let mut res = Ok(Validity::Valid);
    for tag in tags {
        match (&res, tag) {
            (_, Ok(Validity::Invalid)) => return Ok(Validity::Invalid),
            (Ok(before), Ok(validity)) => res = Ok((*before).max(validity)),
            (Ok(_), Err(error)) => res = Err(error),
            (Err(_), _) => {}
        }
    }
    res
}
