//! Keys whose write or delete failed open: what the store holds for them may be out of date.
//!
//! Reads of a marked key are misses until the entry that was there is removed, so that a value that was deleted
//! during an outage is not served when the store comes back. One caller at a time settles a mark: it looks what is
//! there, and removes that and nothing else. A mark ends when all that it can guard against must have expired.
//!
//! When there is no room for a mark, a filter keeps the key. A key that the filter knows counts as marked until it is settled
//! or written.

mod attempt;
mod overflow;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use tokio::sync::Notify;

pub(crate) use self::attempt::Attempt;
use self::overflow::Overflow;
use crate::{store::Entry, timeout::Expiry};

/// The marked keys of one alias.
pub(crate) struct Marks {
    table: Mutex<Table>,
    /// How many there are: callers look here first.
    len: AtomicUsize,
    /// The longest lifetime in nanoseconds that this process has given an entry; the greatest number is never.
    longest: AtomicU64,
    /// Tells the time since some fixed moment.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
    /// The store may answer again.
    pub(crate) answers: Notify,
}

#[derive(Default)]
struct Table {
    marks: HashMap<Box<str>, Mark>,
    next: u64,
    /// Callers who wait for marks that were removed: woken once the lock is released.
    freed: Vec<Waker>,
    overflow: Option<Overflow>,
    /// Until when the task that settles marks counts as running.
    settling: Duration,
}

#[derive(Default)]
struct Mark {
    /// Tells a mark from a later one of the same key.
    number: u64,
    /// Whoever settles it, and until when that claim counts: the future may be one that nobody polls.
    busy: Option<(u64, Duration)>,
    /// The key has been written since, so reads may have it. The mark stays while it is being settled: a removal that is
    /// on its way may still remove what was written, if it is equal, and an `add` that had won would not know.
    settled: bool,
    /// When it ends by itself.
    until: Option<Duration>,
    /// What the first look has found. Only this is removed, however often it takes.
    seen: Option<Entry>,
    /// In which round of the task it was tried last.
    round: u64,
    /// Made by a look at a key that has no room for a mark.
    transient: bool,
    waiting: Vec<Waker>,
}

/// At most so many keys are marked.
const MAX_MARKS: usize = 10_000;
/// A mark does not end by itself before: other programs may give longer lifetimes than this process has seen.
const SHORTEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a key stands.
pub(crate) enum Marked<'a> {
    No,
    /// This caller may settle it.
    Mine(Attempt<'a>),
    /// Another caller settles it.
    Busy,
    /// Another caller settles it, though the key was written since.
    Late,
    /// It stays marked: there is no room to note that it was settled.
    Stuck,
}

impl Marks {
    pub(crate) fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            table: Mutex::default(),
            len: AtomicUsize::new(0),
            longest: AtomicU64::new(0),
            now: Box::new(now),
            answers: Notify::new(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// An entry has been given this lifetime, or may be.
    #[inline]
    pub(crate) fn note_lifetime(&self, expiry: Expiry) {
        let nanos = match expiry {
            Expiry::Never => u64::MAX,
            Expiry::After(it) => u64::try_from(it.as_nanos()).unwrap_or(u64::MAX),
        };
        if nanos > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// Marks a key until the longest lifetime, but at least a day, and `margin` have passed; `false` if there is no room, so that
    /// only the filter knows the key.
    pub(crate) fn mark(&self, key: &str, margin: Duration) -> bool {
        let now = (self.now)();
        let longest = self.longest.load(Ordering::Relaxed);
        let life = Duration::from_nanos(longest).max(SHORTEST_LIFE).saturating_add(margin);
        let until = (longest < u64::MAX).then(|| now.saturating_add(life));
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        if let Some(mark) = table.marks.get_mut(key) {
            *mark = Mark {
                number,
                until,
                busy: mark.busy,
                waiting: std::mem::take(&mut mark.waiting),
                ..Mark::default()
            };
            return true;
        }
        if table.marks.len() >= MAX_MARKS {
            table.prune(now);
        }
        let has_room = table.marks.len() < MAX_MARKS;
        if has_room {
            table.marks.insert(key.into(), Mark { number, until, ..Mark::default() });
        } else {
            let overflow = table.overflow.get_or_insert_with(Overflow::new);
            (overflow.number, overflow.until) = (number, until);
            overflow.lose(key);
        }
        self.release(table);
        has_room
    }

    /// A moment: marks made after it stay when [`unmark`](Self::unmark) is told of it. `None` if nothing is marked.
    pub(crate) fn now(&self) -> Option<u64> {
        (self.len() > 0).then(|| self.lock().next)
    }

    /// A write or delete of the key that began at `moment` has got through.
    pub(crate) fn unmark(&self, key: &str, moment: Option<u64>) {
        let Some(moment) = moment else { return };
        let now = (self.now)();
        let mut table = self.lock();
        // The mark of a key takes its later failures, so none of them is in the filter.
        let is_latest = table.marks.contains_key(key);
        match table.marks.get_mut(key) {
            Some(mark) if mark.number > moment => return,
            Some(mark) if mark.busy.is_some_and(|(_, until)| now < until) => mark.settled = true,
            _ => table.remove(key),
        }
        if let Some(overflow) =
            table.overflow.as_mut().filter(|it| is_latest || it.number <= moment)
        {
            overflow.clean(key);
        }
        self.release(table);
    }

    /// All keys of the alias were removed by a call that began at `moment`.
    pub(crate) fn unmark_all(&self, moment: Option<u64>) {
        let Some(moment) = moment else { return };
        let now = (self.now)();
        let mut table = self.lock();
        table.retain(|mark| {
            mark.settled |= mark.number <= moment;
            mark.busy.is_some_and(|(_, until)| now < until) || !mark.settled
        });
        if table.overflow.as_ref().is_some_and(|it| it.number <= moment) {
            table.overflow = None;
        }
        self.release(table);
    }

    /// Whether reads of a key are misses.
    pub(crate) fn is_marked(&self, key: &str) -> bool {
        if self.len() == 0 {
            return false;
        }
        let now = (self.now)();
        let table = self.lock();
        match table.marks.get(key) {
            Some(mark) => !mark.settled && !mark.is_over(now),
            None => table.overflows(key, now),
        }
    }

    /// Whether a key is marked, without waiting for anyone. A claim on it lasts so long.
    pub(crate) fn look<'a>(&'a self, key: &'a str, lasts: Duration) -> Marked<'a> {
        if self.len() == 0 {
            return Marked::No;
        }
        let now = (self.now)();
        let mut table = self.lock();
        if table.marks.get(key).is_some_and(|it| it.is_over(now)) {
            table.remove(key);
        }
        if !table.marks.contains_key(key) && table.overflows(key, now) {
            if table.overflow.as_ref().is_some_and(Overflow::is_full) {
                return Marked::Stuck;
            }
            let number = table.next;
            let mark = Mark { number, transient: true, ..Mark::default() };
            table.marks.insert(key.into(), mark);
        }
        table.next += 1;
        let (id, until) = (table.next, now.saturating_add(lasts));
        let res = match table.marks.get_mut(key) {
            None => Marked::No,
            Some(mark) if mark.busy.is_some_and(|(_, until)| now < until) => {
                if mark.settled {
                    Marked::Late
                } else {
                    Marked::Busy
                }
            }
            Some(mark) => {
                mark.busy = Some((id, until));
                let (number, seen) = (mark.number, mark.seen.clone());
                Marked::Mine(Attempt { marks: self, key, number, id, until, seen })
            }
        };
        self.release(table);
        res
    }

    /// [`look`](Self::look), once nobody else settles it.
    pub(crate) async fn turn<'a>(&'a self, key: &'a str, lasts: Duration) -> Marked<'a> {
        poll_fn(|cx| match self.look(key, lasts) {
            marked @ (Marked::No | Marked::Mine(_) | Marked::Stuck) => Poll::Ready(marked),
            Marked::Busy | Marked::Late => {
                let mut table = self.lock();
                match table.marks.get_mut(key) {
                    Some(mark) if mark.busy.is_some() => {
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

    /// Some marked keys that nobody settles and that were not tried in this round.
    pub(crate) fn some(&self, count: usize, round: u64) -> Vec<Box<str>> {
        let now = (self.now)();
        let mut table = self.lock();
        table.prune(now);
        let free = table.marks.iter_mut().filter(|(_, mark)| {
            mark.round < round && mark.busy.is_none_or(|(_, until)| until <= now)
        });
        let keys = free.take(count).map(|(key, mark)| {
            mark.round = round;
            key.clone()
        });
        let keys = keys.collect();
        self.release(table);
        keys
    }

    /// Becomes the task that settles marks, for so long; `false` if there is one, or nothing to do.
    pub(crate) fn begin_settling(&self, lasts: Duration) -> bool {
        let now = (self.now)();
        let mut table = self.lock();
        let begins = table.settling <= now && !table.marks.is_empty();
        if begins {
            table.settling = now.saturating_add(lasts);
        }
        begins
    }

    /// The task goes on for so long; `false` if nothing is left to do, and it is over.
    pub(crate) fn go_on_settling(&self, lasts: Duration) -> bool {
        let now = (self.now)();
        let mut table = self.lock();
        let goes_on = !table.marks.is_empty();
        table.settling = if goes_on { now.saturating_add(lasts) } else { Duration::ZERO };
        goes_on
    }

    /// Ends a change of the table.
    fn release(&self, mut table: MutexGuard<'_, Table>) {
        let len = table.marks.len() + usize::from(table.overflow.is_some());
        self.len.store(len, Ordering::SeqCst);
        let freed = std::mem::take(&mut table.freed);
        drop(table);
        freed.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, key: &str) {
        if let Some(mark) = self.marks.remove(key) {
            self.freed.extend(mark.waiting);
        }
    }

    fn retain(&mut self, mut stays: impl FnMut(&mut Mark) -> bool) {
        self.marks.retain(|_, mark| {
            let stays = stays(mark);
            if !stays {
                self.freed.append(&mut mark.waiting);
            }
            stays
        });
    }

    /// Removes the marks that have ended by themselves.
    fn prune(&mut self, now: Duration) {
        self.retain(|mark| !mark.is_over(now));
        self.overflow.take_if(|it| it.is_over(now));
    }

    /// Whether a key that has no mark counts as marked.
    fn overflows(&self, key: &str, now: Duration) -> bool {
        self.overflow.as_ref().is_some_and(|it| it.holds(key, now))
    }
}

impl Mark {
    fn is_over(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| until <= now)
            && self.busy.is_none_or(|(_, until)| until <= now)
    }
}
