//! Keys whose write or delete failed open: what the store holds for them may be out of date.
//!
//! Reads of a marked key are misses until a delete of it has got through, so that a value that was deleted
//! during an outage is not served when the store comes back. One caller at a time sends that delete: a late one would
//! remove what another caller wrote after the first.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

/// The marked keys of one alias.
#[derive(Default)]
pub(crate) struct Marks {
    table: Mutex<Table>,
    /// How many there are: callers look here first.
    len: AtomicUsize,
}

#[derive(Default)]
struct Table {
    marks: HashMap<Box<str>, Mark>,
    next: u64,
}

#[derive(Default)]
struct Mark {
    /// Tells a mark from a later one of the same key.
    number: u64,
    /// Somebody is sending a delete.
    busy: bool,
    /// The key has been written since, so reads may have it. The mark stays while the delete is on the way: it may
    /// still remove what was written, and an `add` that had won would not know.
    settled: bool,
    waiting: Vec<Waker>,
}

/// At most so many keys are marked.
const MAX_MARKS: usize = 10_000;

/// Where a key stands.
pub(crate) enum Marked<'a> {
    No,
    /// This caller may send the delete.
    Mine(Attempt<'a>),
    /// Another caller is sending it.
    Busy,
    /// Another caller is sending it, though the key was written since.
    Late,
}

/// The right to send the delete of a marked key.
pub(crate) struct Attempt<'a> {
    marks: &'a Marks,
    key: &'a str,
    number: u64,
}

impl Marks {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Marks a key; `false` if there is no room.
    pub(crate) fn mark(&self, key: &str) -> bool {
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        if let Some(mark) = table.marks.get_mut(key) {
            mark.number = number;
            mark.settled = false;
            return true;
        }
        let has_room = table.marks.len() < MAX_MARKS;
        if has_room {
            table.marks.insert(key.into(), Mark { number, ..Mark::default() });
            self.count(&table);
        }
        has_room
    }

    /// A moment: marks made after it stay when [`unmark`](Self::unmark) is told of it. `None` if nothing is marked.
    pub(crate) fn now(&self) -> Option<u64> {
        (self.len() > 0).then(|| self.lock().next)
    }

    /// A write or delete of the key that began at `moment` has got through.
    pub(crate) fn unmark(&self, key: &str, moment: Option<u64>) {
        let Some(moment) = moment else { return };
        let mut table = self.lock();
        match table.marks.get_mut(key) {
            Some(mark) if mark.number > moment => {}
            Some(mark) if mark.busy => mark.settled = true,
            _ => self.remove(table, key),
        }
    }

    /// All keys of the alias were removed by a call that began at `moment`.
    pub(crate) fn unmark_all(&self, moment: Option<u64>) {
        let Some(moment) = moment else { return };
        let mut table = self.lock();
        table.marks.retain(|_, mark| {
            mark.settled |= mark.number <= moment;
            mark.busy || !mark.settled
        });
        self.count(&table);
    }

    fn remove(&self, mut table: MutexGuard<'_, Table>, key: &str) {
        table.marks.remove(key);
        self.count(&table);
    }

    /// Whether a key is marked, without waiting for anyone.
    pub(crate) fn look<'a>(&'a self, key: &'a str) -> Marked<'a> {
        if self.len() == 0 {
            return Marked::No;
        }
        let mut table = self.lock();
        match table.marks.get_mut(key) {
            None => Marked::No,
            Some(mark) if mark.busy && mark.settled => Marked::Late,
            Some(mark) if mark.busy => Marked::Busy,
            Some(mark) => {
                mark.busy = true;
                Marked::Mine(Attempt { marks: self, key, number: mark.number })
            }
        }
    }

    /// [`look`](Self::look), once nobody else is sending the delete.
    pub(crate) async fn turn<'a>(&'a self, key: &'a str) -> Option<Attempt<'a>> {
        poll_fn(|cx| match self.look(key) {
            Marked::No => Poll::Ready(None),
            Marked::Mine(attempt) => Poll::Ready(Some(attempt)),
            Marked::Busy | Marked::Late => {
                let mut table = self.lock();
                match table.marks.get_mut(key) {
                    Some(mark) if mark.busy => {
                        if !mark.waiting.iter().any(|it| it.will_wake(cx.waker())) {
                            mark.waiting.push(cx.waker().clone());
                        }
                    }
                    // It changed between the two looks: look again.
                    _ => cx.waker().wake_by_ref(),
                }
                Poll::Pending
            }
        })
        .await
    }

    fn count(&self, table: &Table) {
        self.len.store(table.marks.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    pub(crate) fn key(&self) -> &str {
        self.key
    }

    /// The delete got through.
    pub(crate) fn succeed(self) {
        // It is still busy, so this only notes it; dropping this removes the mark.
        self.marks.unmark(self.key, Some(self.number));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut table = self.marks.lock();
        let Some(mark) = table.marks.get_mut(self.key) else { return };
        mark.busy = false;
        let waiting = std::mem::take(&mut mark.waiting);
        if mark.settled {
            self.marks.remove(table, self.key);
        } else {
            drop(table);
        }
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_made_during_a_delete_outlives_it() {
        let marks = Marks::default();
        assert!(marks.mark("k"));
        let Marked::Mine(attempt) = marks.look("k") else { panic!("not marked") };
        assert!(matches!(marks.look("k"), Marked::Busy));
        marks.mark("k");
        attempt.succeed();
        assert!(matches!(marks.look("k"), Marked::Mine(_)));
    }

    #[test]
    fn a_write_that_began_before_the_mark_does_not_remove_it() {
        let marks = Marks::default();
        marks.mark("a");
        let before = marks.now();
        marks.mark("k");
        marks.unmark("k", before);
        assert_eq!(marks.len(), 2);
        marks.unmark("k", marks.now());
        assert_eq!(marks.len(), 1);
        marks.unmark_all(marks.now());
        assert_eq!(marks.len(), 0);
    }

    #[test]
    fn a_delete_that_is_late_is_waited_for() {
        for (all, fails) in [(false, false), (true, false), (false, true)] {
            let marks = Marks::default();
            marks.mark("k");
            let Marked::Mine(attempt) = marks.look("k") else { panic!("not marked") };
            if all {
                marks.unmark_all(marks.now());
            } else {
                marks.unmark("k", marks.now());
            }
            assert!(matches!(marks.look("k"), Marked::Late), "reads may go on");
            if fails {
                drop(attempt);
            } else {
                attempt.succeed();
            }
            assert!(matches!(marks.look("k"), Marked::No));
            assert_eq!(marks.len(), 0);
        }
    }

    #[test]
    fn the_number_of_marks_is_bounded() {
        let marks = Marks::default();
        assert!((0..MAX_MARKS).all(|n| marks.mark(&n.to_string())));
        assert!(!marks.mark("one more"));
        assert!(marks.mark("0"), "a key that is marked already needs no room");
        assert_eq!(marks.len(), MAX_MARKS);
    }
}
