//! Expires tags: their values may still be served stale.
//!
//! An invalidation gives a marker a random number, and an expiry [counts](Version::expired) in it.
//! So an entry with another count of the same number was expired, and one with another number
//! was invalidated. When the count is full, an expiry is an invalidation.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cache::{
        Cache, call, call_leader,
        markers::{Background, stored},
    },
    consistency::{
        markers::{COUNT, Marker, Version},
        tag_set::TagSet,
    },
    error::Result,
    runtime::all,
    store::{Expected, TtlUpdate},
    timeout::Expiry,
    value::Form,
};

/// How often an expiry begins again because another process has changed the marker. After that, it
/// is an invalidation.
const ATTEMPTS: usize = 10;

impl<V: Form> Cache<V> {
    /// Counts an expiry in the markers of tags. Returns the first error.
    pub(super) async fn expire(&self, tags: &TagSet) -> Result<()> {
        // Dropped after the replacements: the future may be dropped, too.
        let _background = Background(self);
        let markers = tags.markers();
        all(markers.iter().map(|it| self.expire_marker(it))).await.into_iter().collect()
    }

    async fn expire_marker(&self, marker: &Arc<Marker>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            // A failed invalidation is still pending.
            if marker.is_pending() {
                break;
            }
            // Before the read, so that an expiry whose future is dropped is pending, too.
            let mut replacement = self.shared.markers.replace(marker);
            // Not a remembered version: another process may have changed it.
            let text: Result<Option<Bytes>> = call_leader!(self.get(marker.key()));
            let text = match text {
                Err(error) if !error.kind().is_unreadable() => return Err(error),
                res => res.ok().flatten(),
            };
            let next = text.as_deref().and_then(Version::parse).and_then(Version::expired);
            // Without a marker, no entry is valid.
            let (Some(text), Some(next)) = (text, next) else {
                replacement.cancel();
                break;
            };
            replacement.set_version(next);
            let (seen, new) = (Expected::value(&text), TtlUpdate::New(Expiry::Never));
            // A plain write could undo an invalidation by another process.
            let res: Result<bool> =
                call!(self.compare_and_set(marker.key(), seen, stored(next), new));
            if res? {
                replacement.complete();
                return Ok(());
            }
            replacement.cancel();
        }
        self.replace_markers(&[Arc::clone(marker)]).await
    }
}

/// Returns whether the version `seen` was expired and not invalidated before it became `current`.
pub(super) fn is_expired(seen: u64, current: u64) -> bool {
    seen != current && seen & !COUNT == current & !COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_count_of_expiries_is_an_invalidation() {
        let first = Version::new(7 << 16);
        let second = first.expired().unwrap();
        assert!(is_expired(first.number(), second.number()));
        assert!(!is_expired(second.number(), second.number()));
        assert!(!is_expired(first.number(), Version::new(8 << 16).number()));
        assert_eq!(Version::new((7 << 16) + 0xffff).expired(), None);
        assert!(Version::new((7 << 16) + 0xfffe).expired().is_some());
    }
}
