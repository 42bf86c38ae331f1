//! Expires tags: their values may still be served stale.
//!
//! An invalidation gives a marker a random number. Its lowest 16 bits count the expiries since
//! then. So an entry with another count of the same number was expired, and one with another number
//! was invalidated. When the count is full, an expiry is an invalidation.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cache::{Cache, call, call_leader, markers::stored},
    consistency::{
        markers::{Marker, Version},
        tag_set::TagSet,
    },
    error::Result,
    runtime::all,
    store::{Expected, TtlUpdate},
    timeout::Expiry,
    value::Form,
};

/// The bits of a version that count the expiries.
const COUNT: u64 = 0xffff;

/// How often an expiry begins again because another process has changed the marker. After that, it
/// is an invalidation.
const ATTEMPTS: usize = 10;

impl<V: Form> Cache<V> {
    /// Counts an expiry in the markers of tags. Returns the first error.
    pub(super) async fn expire(&self, tags: &TagSet) -> Result<()> {
        let markers = tags.markers();
        all(markers.iter().map(|it| self.expire_marker(it))).await.into_iter().collect()
    }

    async fn expire_marker(&self, marker: &Arc<Marker>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            // A failed invalidation is still pending.
            if marker.is_pending() {
                break;
            }
            // Not a remembered version: another process may have changed it.
            let text: Result<Option<Bytes>> = call_leader!(self.get(marker.key()));
            let text = match text {
                Err(error) if !error.kind().is_unreadable() => {
                    self.add_pending_replacement(marker);
                    return Err(error);
                }
                res => res.ok().flatten(),
            };
            // Without a marker, no entry is valid.
            let Some(text) = text else { break };
            let Some(next) = Version::parse(&text).and_then(next) else { break };
            let replacement = self.shared.markers.replace_by(marker, next);
            let (seen, new) = (Expected::value(&text), TtlUpdate::New(Expiry::Never));
            // A plain write could undo an invalidation by another process.
            let res: Result<bool> =
                call!(self.compare_and_set(marker.key(), seen, stored(next), new));
            match res {
                Ok(true) => {
                    replacement.complete();
                    return Ok(());
                }
                Ok(false) => replacement.cancel(),
                Err(error) => {
                    drop(replacement);
                    self.replace_in_background();
                    return Err(error);
                }
            }
        }
        self.replace_markers(&[Arc::clone(marker)]).await
    }
}

/// Returns the version after an expiry; `None` if the count is full.
fn next(version: Version) -> Option<Version> {
    let number = version.number();
    (number & COUNT != COUNT).then(|| Version::new(number + 1))
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
        let second = next(first).unwrap();
        assert!(is_expired(first.number(), second.number()));
        assert!(!is_expired(second.number(), second.number()));
        assert!(!is_expired(first.number(), Version::new(8 << 16).number()));
        assert_eq!(next(Version::new((7 << 16) + 0xffff)), None);
        assert!(next(Version::new((7 << 16) + 0xfffe)).is_some());
    }
}
