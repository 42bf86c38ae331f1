//! Keys whose write or delete failed open: the store may hold an entry that should be deleted.
//!
//! Reads of a key with a tombstone are misses until that entry is deleted, so that a value that was
//! deleted during an outage is not served when the store comes back. One caller at a time claims a
//! tombstone, reads the entry, and deletes exactly that entry. A tombstone expires when each entry
//! that it can guard against must have expired.
//!
//! When the table is full, a filter keeps the key. A key that the filter contains counts as having
//! a tombstone until its old entry is deleted or the key is written.

mod overflow;
mod pending_delete;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio::sync::Notify;

use self::overflow::Overflow;
pub(crate) use self::pending_delete::{Lookup, Outrun, PendingDelete};
use super::task_claim::TaskClaim;
use crate::{store::Entry, timeout::Expiry};

/// The tombstones of one alias.
pub(crate) struct Tombstones {
    table: Mutex<Table>,
    /// The number of tombstones. Callers read it first, and usually need no lock.
    len: AtomicUsize,
    /// The longest lifetime in nanoseconds that this process gave an entry; `u64::MAX` is never.
    longest: AtomicU64,
    /// Returns the time since some fixed moment.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Notified when the store may answer again.
    pub(crate) answers: Notify,
}

#[derive(Default)]
struct Table {
    tombstones: HashMap<Box<str>, Tombstone>,
    next: u64,
    /// Callers that wait for tombstones that were removed. They are woken without the lock.
    freed: Vec<Waker>,
    overflow: Option<Overflow>,
    task: TaskClaim,
}

#[derive(Default)]
struct Tombstone {
    /// Distinguishes the tombstone from a later one of the same key.
    number: u64,
    /// The number of the caller that runs the pending delete, and when its claim expires: its
    /// future may never be polled again.
    claim: Option<(u64, Duration)>,
    /// Whether the key was written since, so that reads may return the new entry. The tombstone
    /// stays while a delete is on its way: the delete removes the new entry if it is equal to the
    /// old one, and an `add` that succeeded would not notice.
    superseded: bool,
    /// Until when a write or delete of the key by this process may be on its way.
    writing_until: Option<Duration>,
    /// When the tombstone expires.
    until: Option<Duration>,
    /// The entry that the first read returned. Each attempt deletes only this entry.
    seen: Option<Entry>,
    /// The round of the background task in which it was last tried.
    round: u64,
    /// Whether it was made only for the claim of a key that is in the filter.
    transient: bool,
    waiting: Vec<Waker>,
}

/// The maximum number of tombstones.
const MAX_TOMBSTONES: usize = 10_000;
/// The shortest lifetime of a tombstone: other programs may give entries longer lifetimes than this
/// process.
const SHORTEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl Tombstones {
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

    /// Notes that an entry has this lifetime, or may have it.
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

    /// Adds a tombstone. It expires after the longest lifetime, but at least a day, and `margin`.
    /// Returns `false` if the table is full, so that only the filter contains the key.
    pub(crate) fn add(&self, key: &str, margin: Duration) -> bool {
        let now = (self.now)();
        let longest = self.longest.load(Ordering::Relaxed);
        let life = Duration::from_nanos(longest).max(SHORTEST_LIFE).saturating_add(margin);
        let until = (longest < u64::MAX).then(|| now.saturating_add(life));
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        if let Some(tombstone) = table.tombstones.get_mut(key) {
            *tombstone = Tombstone {
                number,
                until,
                claim: tombstone.claim,
                waiting: std::mem::take(&mut tombstone.waiting),
                ..Tombstone::default()
            };
            return true;
        }
        if table.tombstones.len() >= MAX_TOMBSTONES {
            table.prune(now);
        }
        let has_room = table.tombstones.len() < MAX_TOMBSTONES;
        if has_room {
            table
                .tombstones
                .insert(key.into(), Tombstone { number, until, ..Tombstone::default() });
        } else {
            let overflow = table.overflow.get_or_insert_with(Overflow::new);
            (overflow.number, overflow.until) = (number, until);
            overflow.add(key);
        }
        self.release(table);
        has_room
    }

    /// Notes that this process writes or deletes a key, for at most `lasts`.
    pub(crate) fn begin_write(&self, key: &str, lasts: Duration) {
        if self.len() == 0 {
            return;
        }
        let until = (self.now)().saturating_add(lasts);
        if let Some(tombstone) = self.lock().tombstones.get_mut(key) {
            tombstone.writing_until = tombstone.writing_until.max(Some(until));
        }
    }

    /// Returns the current moment: [`remove`](Self::remove) keeps later tombstones. `None` if there
    /// are no tombstones.
    pub(crate) fn moment(&self) -> Option<u64> {
        (self.len() > 0).then(|| self.lock().next)
    }

    /// Removes the tombstone of a key after a write or delete that began at `moment` succeeded.
    pub(crate) fn remove(&self, key: &str, moment: Option<u64>) {
        let Some(moment) = moment else { return };
        let now = (self.now)();
        let mut table = self.lock();
        // A key with a tombstone keeps its later failures there: the filter contains none of them.
        let is_latest = table.tombstones.contains_key(key);
        match table.tombstones.get_mut(key) {
            Some(tombstone) if tombstone.number > moment => return,
            Some(tombstone) if tombstone.claim.is_some_and(|(_, until)| now < until) => {
                tombstone.superseded = true;
            }
            _ => table.remove(key),
        }
        if let Some(overflow) =
            table.overflow.as_mut().filter(|it| is_latest || it.number <= moment)
        {
            overflow.resolve(key);
        }
        self.release(table);
    }

    /// Removes all tombstones after a clear that began at `moment` succeeded.
    pub(crate) fn remove_all(&self, moment: Option<u64>) {
        let Some(moment) = moment else { return };
        let now = (self.now)();
        let mut table = self.lock();
        table.retain(|tombstone| {
            tombstone.superseded |= tombstone.number <= moment;
            tombstone.claim.is_some_and(|(_, until)| now < until) || !tombstone.superseded
        });
        if table.overflow.as_ref().is_some_and(|it| it.number <= moment) {
            table.overflow = None;
        }
        self.release(table);
    }

    /// Returns whether reads of a key are misses.
    pub(crate) fn contains(&self, key: &str) -> bool {
        if self.len() == 0 {
            return false;
        }
        let now = (self.now)();
        let table = self.lock();
        match table.tombstones.get(key) {
            Some(tombstone) => !tombstone.superseded && !tombstone.is_expired(now),
            None => table.overflows(key, now),
        }
    }

    /// Returns up to `count` keys whose pending delete is not running and was not tried in this
    /// round.
    pub(crate) fn unclaimed(&self, count: usize, round: u64) -> Vec<Box<str>> {
        let now = (self.now)();
        let mut table = self.lock();
        table.prune(now);
        let free = table.tombstones.iter_mut().filter(|(_, tombstone)| {
            tombstone.round < round && tombstone.claim.is_none_or(|(_, until)| until <= now)
        });
        let keys = free.take(count).map(|(key, tombstone)| {
            tombstone.round = round;
            key.clone()
        });
        let keys = keys.collect();
        self.release(table);
        keys
    }

    /// Returns whether the caller becomes the background task: no other one is running, and there
    /// are tombstones. The task counts as running for `lasts`.
    pub(crate) fn begin_task(&self, lasts: Duration) -> bool {
        let now = (self.now)();
        let mut table = self.lock();
        let has_work = !table.tombstones.is_empty();
        table.task.begin(has_work, now, lasts)
    }

    /// Returns whether the background task goes on: there are tombstones left. It counts as running
    /// for `lasts` more.
    pub(crate) fn continue_task(&self, lasts: Duration) -> bool {
        let now = (self.now)();
        let mut table = self.lock();
        let has_work = !table.tombstones.is_empty();
        table.task.go_on(has_work, now, lasts)
    }

    /// Unlocks the table after a change.
    fn release(&self, mut table: MutexGuard<'_, Table>) {
        let len = table.tombstones.len() + usize::from(table.overflow.is_some());
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
        if let Some(tombstone) = self.tombstones.remove(key) {
            self.freed.extend(tombstone.waiting);
        }
    }

    fn retain(&mut self, mut stays: impl FnMut(&mut Tombstone) -> bool) {
        self.tombstones.retain(|_, tombstone| {
            let stays = stays(tombstone);
            if !stays {
                self.freed.append(&mut tombstone.waiting);
            }
            stays
        });
    }

    /// Removes expired tombstones.
    fn prune(&mut self, now: Duration) {
        self.retain(|tombstone| !tombstone.is_expired(now));
        self.overflow.take_if(|it| it.is_expired(now));
    }

    /// Returns whether the filter contains a key.
    fn overflows(&self, key: &str, now: Duration) -> bool {
        self.overflow.as_ref().is_some_and(|it| it.contains(key, now))
    }
}

impl Tombstone {
    fn is_expired(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| until <= now)
            && self.claim.is_none_or(|(_, until)| until <= now)
    }
}
