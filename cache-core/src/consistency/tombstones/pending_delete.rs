use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{Tombstone, Tombstones, overflow::Overflow};
use crate::store::Entry;

/// The claim of a caller on a tombstone: it deletes the old entry of the key.
pub(crate) struct PendingDelete<'a> {
    tombstones: &'a Tombstones,
    key: &'a str,
    number: u64,
    id: u64,
    until: Duration,
    seen: Option<Entry>,
}

/// The state of a key.
pub(crate) enum Lookup<'a> {
    /// The key has no tombstone.
    Absent,
    /// This caller runs the pending delete.
    Claimed(PendingDelete<'a>),
    /// Another caller runs the pending delete.
    Busy,
    /// Another caller runs the pending delete, but the key was written since.
    Superseded,
    /// The key keeps its tombstone, because the filter cannot note that the delete is complete.
    Full,
}

/// Whether a write or delete by this process outran the read of a pending delete.
pub(crate) enum Outrun {
    No,
    /// A write or delete is on its way.
    Perhaps,
    /// A write or delete succeeded, so the old entry was replaced or deleted.
    Superseded,
}

impl Tombstones {
    /// Claims the pending delete of a key for `lasts`, without waiting for other callers.
    pub(crate) fn claim<'a>(&'a self, key: &'a str, lasts: Duration) -> Lookup<'a> {
        if self.len() == 0 {
            return Lookup::Absent;
        }
        let now = (self.now)();
        let mut table = self.lock();
        if table.tombstones.get(key).is_some_and(|it| it.is_expired(now)) {
            table.remove(key);
        }
        if !table.tombstones.contains_key(key) && table.overflows(key, now) {
            if table.overflow.as_ref().is_some_and(Overflow::is_full) {
                return Lookup::Full;
            }
            let number = table.next;
            let tombstone = Tombstone { number, transient: true, ..Tombstone::default() };
            table.tombstones.insert(key.into(), tombstone);
        }
        table.next += 1;
        let (id, until) = (table.next, now.saturating_add(lasts));
        let res = match table.tombstones.get_mut(key) {
            None => Lookup::Absent,
            Some(tombstone) if tombstone.claim.is_some_and(|(_, until)| now < until) => {
                if tombstone.superseded { Lookup::Superseded } else { Lookup::Busy }
            }
            Some(tombstone) => {
                tombstone.claim = Some((id, until));
                let (number, seen) = (tombstone.number, tombstone.seen.clone());
                Lookup::Claimed(PendingDelete { tombstones: self, key, number, id, until, seen })
            }
        };
        self.release(table);
        res
    }

    /// [Claims](Self::claim) the pending delete of a key when no other caller runs it.
    pub(crate) async fn claim_in_turn<'a>(&'a self, key: &'a str, lasts: Duration) -> Lookup<'a> {
        poll_fn(|cx| match self.claim(key, lasts) {
            lookup @ (Lookup::Absent | Lookup::Claimed(_) | Lookup::Full) => Poll::Ready(lookup),
            Lookup::Busy | Lookup::Superseded => {
                let mut table = self.lock();
                match table.tombstones.get_mut(key) {
                    Some(tombstone) if tombstone.claim.is_some() => {
                        if !tombstone.waiting.iter().any(|it| it.will_wake(cx.waker())) {
                            tombstone.waiting.push(cx.waker().clone());
                        }
                    }
                    // The claim ended between the two locks: poll again.
                    _ => cx.waker().wake_by_ref(),
                }
                Poll::Pending
            }
        })
        .await
    }
}

impl PendingDelete<'_> {
    pub(crate) fn key(&self) -> &str {
        self.key
    }

    /// Returns the entry of the first read, if it was read before.
    pub(crate) fn seen(&self) -> Option<&Entry> {
        self.seen.as_ref()
    }

    /// Returns whether an entry that was just read may be newer than a write of this process.
    pub(crate) fn outrun(&self) -> Outrun {
        let now = (self.tombstones.now)();
        match self.tombstones.lock().tombstones.get(self.key) {
            Some(tombstone) if tombstone.superseded => Outrun::Superseded,
            Some(it) if it.writing_until.is_some_and(|until| now < until) => Outrun::Perhaps,
            _ => Outrun::No,
        }
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
