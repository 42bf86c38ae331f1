//! The right to settle a marked key.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::Marks;
use crate::store::Entry;

/// The right to settle a marked key.
pub(crate) struct Attempt<'a> {
    pub(super) marks: &'a Marks,
    pub(super) key: &'a str,
    pub(super) number: u64,
    pub(super) id: u64,
    pub(super) until: Duration,
    pub(super) seen: Option<Entry>,
}

impl Attempt<'_> {
    pub(crate) fn key(&self) -> &str {
        self.key
    }

    /// What the first look has found, if there was one.
    pub(crate) fn seen(&self) -> Option<&Entry> {
        self.seen.as_ref()
    }

    /// The first look has found this.
    pub(crate) fn saw(&mut self, entry: Entry) {
        let mut table = self.marks.lock();
        if let Some(mark) = table.marks.get_mut(self.key).filter(|it| it.number == self.number) {
            mark.seen = Some(entry.clone());
        }
        self.seen = Some(entry);
    }

    /// Makes the removal; `None` if the time of the claim ends before, as another caller may have the key then.
    pub(crate) async fn run<F: Future>(&self, removal: F) -> Option<F::Output> {
        let mut removal = pin!(removal);
        poll_fn(|cx| {
            if self.until <= (self.marks.now)() {
                return Poll::Ready(None);
            }
            removal.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Notes that the old entry is gone.
    pub(crate) fn succeed(self) {
        // It is still busy, so this only notes it; dropping this removes the mark.
        self.marks.unmark(self.key, Some(self.number));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut table = self.marks.lock();
        let Some(mark) = table.marks.get_mut(self.key) else { return };
        if mark.busy.is_none_or(|(id, _)| id != self.id) {
            return;
        }
        mark.busy = None;
        let waiting = std::mem::take(&mut mark.waiting);
        if mark.settled || mark.transient {
            table.remove(self.key);
        }
        table.freed.extend(waiting);
        self.marks.release(table);
    }
}
