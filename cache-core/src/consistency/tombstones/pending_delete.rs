use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::Tombstones;
use crate::store::Entry;

/// The claim of a caller on a tombstone: it deletes the old entry of the key.
pub(crate) struct PendingDelete<'a> {
    pub(super) tombstones: &'a Tombstones,
    pub(super) key: &'a str,
    pub(super) number: u64,
    pub(super) id: u64,
    pub(super) until: Duration,
    pub(super) seen: Option<Entry>,
}

impl PendingDelete<'_> {
    pub(crate) fn key(&self) -> &str {
        self.key
    }

    /// Returns the entry of the first read, if it was read before.
    pub(crate) fn seen(&self) -> Option<&Entry> {
        self.seen.as_ref()
    }

    /// Keeps the entry of the first read.
    pub(crate) fn saw(&mut self, entry: Entry) {
        let mut table = self.tombstones.lock();
        if let Some(tombstone) =
            table.tombstones.get_mut(self.key).filter(|it| it.number == self.number)
        {
            tombstone.seen = Some(entry.clone());
        }
        self.seen = Some(entry);
    }

    /// Runs the delete. Returns `None` if the claim expires before, because another caller may have
    /// the claim then.
    pub(crate) async fn run<F: Future>(&self, delete: F) -> Option<F::Output> {
        let mut delete = pin!(delete);
        poll_fn(|cx| {
            if self.until <= (self.tombstones.now)() {
                return Poll::Ready(None);
            }
            delete.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Removes the tombstone, because the old entry was deleted.
    pub(crate) fn succeed(self) {
        // The claim still exists, so this sets a flag. The drop of the claim removes the tombstone.
        self.tombstones.remove(self.key, Some(self.number));
    }
}

impl Drop for PendingDelete<'_> {
    fn drop(&mut self) {
        let mut table = self.tombstones.lock();
        let Some(tombstone) = table.tombstones.get_mut(self.key) else { return };
        if tombstone.claim.is_none_or(|(id, _)| id != self.id) {
            return;
        }
        tombstone.claim = None;
        let waiting = std::mem::take(&mut tombstone.waiting);
        if tombstone.superseded || tombstone.transient {
            table.remove(self.key);
        }
        table.freed.extend(waiting);
        self.tombstones.release(table);
    }
}
