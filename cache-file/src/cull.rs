//! Making room: a few entries at a time, by a sample.

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard, PoisonError},
};

use rustix::fs::{OFlags, fstat};

use crate::{
    counters::Count,
    directory::Directory,
    error::Fault,
    inner::Inner,
    look::{Look, Want, look},
    name::Name,
};

/// The names that are next to be looked at: those of a folder, folder after folder. So every entry is looked at as often
/// as any other, and no write lists more than one folder, once for hundreds of writes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    names: VecDeque<Name>,
    /// The folder whose names come next.
    next: u8,
    /// Whether a first folder was chosen.
    begun: bool,
}

/// What was seen of an entry.
#[derive(Debug)]
struct Seen {
    name: Name,
    /// `None`: it has expired, or holds no entry.
    live: Option<Live>,
}

#[derive(Debug, PartialEq, Eq)]
struct Live {
    stamp: u64,
    /// When it was written last.
    written: (i64, i64),
}

/// How many entries are looked at before some are chosen.
const SAMPLE: usize = 16;
/// How many of them are evicted at most. Fewer would be older, and cost more looks for each.
const EVICTED: u64 = 4;
/// How much more may be removed than the write that removes it has added, so that culling catches up.
const ROUNDS: usize = 8;

/// After a write that added something: removes a few entries if there are too many. The one of that write stays.
///
/// The caller's write is done, so what fails here fails nobody.
pub(crate) fn make_room(inner: &Arc<Inner>, written: &Name) {
    let Some(directory) = inner.open_directory() else { return };
    if excess(inner, directory.counters.total()).is_none() {
        return;
    }
    // Another thread that makes room does so for this one.
    let Ok(mut queue) = inner.queue.try_lock() else { return };
    for _ in 0..ROUNDS {
        let Some(excess) = excess(inner, directory.counters.total()) else { return };
        match queue.cull(inner, &directory, excess, Some(written)) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// A step of the sweeper: removes what has expired of a sample, and more if there is too much. How many were removed, and of
/// how many.
pub(crate) fn sweep(inner: &Inner, directory: &Directory) -> (usize, usize) {
    let mut queue = queue(inner);
    let excess = excess(inner, directory.counters.total()).unwrap_or(0);
    (queue.cull(inner, directory, excess, None).unwrap_or(0), SAMPLE)
}

fn queue(inner: &Inner) -> MutexGuard<'_, Queue> {
    inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many entries of a sample are to go; `None` if there is room.
fn excess(inner: &Inner, total: Count) -> Option<u64> {
    let plan = &inner.plan;
    let over = total.entries.saturating_sub(plan.max_entries);
    let wide = total.bytes > plan.max_bytes;
    // A small store is not emptied by a few writes.
    let share = (plan.max_entries / 64).clamp(1, EVICTED);
    (over > 0 || wide).then_some(share)
}

impl Queue {
    /// Looks at a sample, removes what is no live entry, and evicts up to `evict` of those written longest ago. How many are gone.
    fn cull(
        &mut self,
        inner: &Inner,
        directory: &Directory,
        evict: u64,
        keep: Option<&Name>,
    ) -> Result<usize, Fault> {
        let mut seen = self.sample(inner, directory, keep)?;
        seen.sort_by_key(|it| it.live.as_ref().map(|live| live.written));
        let dead = seen.iter().filter(|it| it.live.is_none()).count();
        // What has expired makes room, too.
        let evict = usize::try_from(evict).unwrap_or(0).saturating_sub(dead);
        let mut removed = 0;
        for it in seen.iter().take(dead + evict) {
            removed += usize::from(remove(inner, directory, it)?);
        }
        Ok(removed)
    }

    fn sample(
        &mut self,
        inner: &Inner,
        directory: &Directory,
        keep: Option<&Name>,
    ) -> Result<Vec<Seen>, Fault> {
        if !self.begun {
            // Elsewhere than the other processes.
            self.begun = true;
            self.next = inner.stamp().to_le_bytes()[7];
        }
        let mut res = Vec::with_capacity(SAMPLE);
        let mut folders = 0;
        while res.len() < SAMPLE {
            let Some(name) = self.names.pop_front() else {
                if folders > usize::from(u8::MAX) {
                    break;
                }
                folders += 1;
                self.refill(directory)?;
                continue;
            };
            if Some(&name) != keep {
                res.extend(see(inner, directory, &name)?);
            }
        }
        Ok(res)
    }

    fn refill(&mut self, directory: &Directory) -> Result<(), Fault> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if directory.counters.read(number) != Count::default()
            && let Some(folder) = directory.folder(number, false)?
        {
            self.names.extend(folder.names()?);
        }
        Ok(())
    }
}

fn see(inner: &Inner, directory: &Directory, name: &Name) -> Result<Option<Seen>, Fault> {
    let Some(folder) = directory.folder(name.folder(), false)? else { return Ok(None) };
    let Some(fd) = folder.open(name, OFlags::RDONLY)? else { return Ok(None) };
    let live = match look(&fd, None, Want::Head) {
        Ok(Look::Found(it)) if it.header.is_live(inner.now()) => {
            let stat = fstat(&fd);
            let written = stat.map_or((0, 0), |it| (it.st_mtime, it.st_mtime_nsec));
            Some(Live { stamp: it.header.stamp, written: as_numbers(written) })
        }
        // A file that cannot be read cannot be judged, and a newer release's is its own.
        Ok(Look::Newer) | Err(_) => return Ok(None),
        Ok(_) => None,
    };
    Ok(Some(Seen { name: *name, live }))
}

/// Removes an entry if it is as it was seen. One whose folder is busy stays: somebody else will find it.
fn remove(inner: &Inner, directory: &Directory, seen: &Seen) -> Result<bool, Fault> {
    let Some(folder) = directory.folder(seen.name.folder(), false)? else { return Ok(false) };
    let Some(locked) = folder.try_lock(&directory.counters)? else { return Ok(false) };
    let Some(slot) = locked.slot(&seen.name)? else { return Ok(false) };
    let same = match (slot.look(None, Want::Head)?, &seen.live) {
        (Look::Newer, _) => false,
        (Look::Found(it), Some(live)) => it.header.stamp == live.stamp,
        (Look::Found(it), None) => !it.header.is_live(inner.now()),
        (_, live) => live.is_none(),
    };
    if same {
        slot.remove()?;
    }
    Ok(same)
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_possible_wrap,
    reason = "the types differ by platform"
)]
fn as_numbers((secs, nanos): (impl Into<i64>, impl TryInto<i64>)) -> (i64, i64) {
    (secs.into(), nanos.try_into().unwrap_or(0))
}
