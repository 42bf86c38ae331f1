//! Making room: a few entries at a time, by a sample.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, fstat};

use crate::{
    counters::{BLOCK, Count},
    directory::Directory,
    entry_path::EntryPath,
    error::StepError,
    probe::{Part, Probe, probe},
    recycler,
    shared::Shared,
    sweeper,
};

/// The names that are next to be looked at: those of a folder, folder after folder. So every entry is looked at as often
/// as any other, and no write lists more than one folder, once for hundreds of writes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    names: VecDeque<EntryPath>,
    /// The folder whose names come next.
    next: u8,
    /// Whether a first folder was chosen.
    begun: bool,
    /// Whether there is too much is what the counts say, which may be wrong.
    verification: Verification,
}

/// What was seen of an entry.
#[derive(Debug)]
struct Seen {
    name: EntryPath,
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
/// How many samples a write takes beside one for each block that it has added, so that culling catches up.
const ROUNDS: u64 = 8;
/// How long the sweeper counts folders at a time: some thousand entries.
const COUNTING: Duration = Duration::from_millis(10);
/// How many entries are looked at for a sample: those of newer releases are in none, and may be all.
const LOOKS: usize = 4 * SAMPLE;

/// After a write that added so many blocks: removes a few entries if there are too many. The one of that write stays.
///
/// The caller's write is done, so what fails here fails nobody.
pub(crate) fn make_room(shared: &Arc<Shared>, written: &EntryPath, grown: u64) {
    let Some(directory) = shared.open_directory() else { return };
    if !is_over(shared, directory.counters.total()) {
        return;
    }
    // Another thread that makes room does so for this one.
    let Ok(mut queue) = shared.queue.try_lock() else { return };
    // A call that makes room for longer would be taken for one that failed.
    let (began, pause) = (Instant::now(), shared.plan.patience / 4);
    if !queue.count_all(&directory, began, pause) {
        return;
    }
    for _ in 0..grown.saturating_add(ROUNDS) {
        if !is_over(shared, directory.counters.total()) || began.elapsed() > pause {
            return;
        }
        match queue.cull(shared, &directory, Some(written)) {
            Ok((_, 0)) | Err(_) => return,
            // Perhaps nothing is gone: a sample is of one folder, which may be busy.
            Ok(_) => {}
        }
    }
}

/// A step of the sweeper: removes what has expired of a sample, and more if there is too much. How many were removed, and of
/// how many. Its queue is its own: a write that found it taken would leave the room that it needs to a single sample.
pub(crate) fn sweep(shared: &Shared, directory: &Directory, queue: &mut Queue) -> (usize, usize) {
    if is_over(shared, directory.counters.total()) {
        queue.count_all(directory, Instant::now(), COUNTING);
    }
    queue.cull(shared, directory, None).unwrap_or_default()
}

fn is_over(shared: &Shared, total: Count) -> bool {
    total.entries > shared.plan.max_entries || total.bytes > max_bytes(shared)
}

/// What entries may take, beside the files that wait for some.
fn max_bytes(shared: &Shared) -> u64 {
    shared.plan.max_bytes - recycler::reserve(&shared.plan)
}

/// How many entries of a sample are to go at most. A small store is not emptied by a few writes.
fn share(shared: &Shared) -> u64 {
    (shared.plan.max_entries / 64).clamp(1, EVICTED)
}

/// Whether there is room, and some for the writes that come next: a few large values do not all go for one more.
fn is_enough(shared: &Shared, total: Count) -> bool {
    let blocks = (max_bytes(shared) / BLOCK / 64).min(EVICTED - 1);
    total.entries.saturating_add(share(shared)) <= shared.plan.max_entries.saturating_add(1)
        && total.bytes.saturating_add(blocks * BLOCK) <= max_bytes(shared)
}

impl Queue {
    /// Looks at a sample, removes what is no live entry, and evicts some of those written longest ago if there is too much. How many
    /// are gone, and of how many.
    fn cull(
        &mut self,
        shared: &Shared,
        directory: &Directory,
        keep: Option<&EntryPath>,
    ) -> Result<(usize, usize), StepError> {
        let mut seen = self.sample(shared, directory, keep)?;
        seen.sort_by_key(|it| it.live.as_ref().map(|live| live.written));
        let is_over =
            self.counted > usize::from(u8::MAX) && is_over(shared, directory.counters.total());
        let evict = if is_over { usize::try_from(share(shared)).unwrap_or(0) } else { 0 };
        let mut removed = 0;
        for (n, it) in seen.iter().enumerate() {
            // What has expired makes room, too.
            let is_spared = n >= evict || is_enough(shared, directory.counters.total());
            if it.live.is_some() && is_spared {
                break;
            }
            removed += usize::from(remove(shared, directory, it)?);
        }
        Ok((removed, seen.len()))
    }

    fn sample(
        &mut self,
        shared: &Shared,
        directory: &Directory,
        keep: Option<&EntryPath>,
    ) -> Result<Vec<Seen>, StepError> {
        if !self.begun {
            // Elsewhere than the other processes.
            self.begun = true;
            self.next = shared.stamp().to_le_bytes()[7];
        }
        let mut res = Vec::with_capacity(SAMPLE);
        let (mut folders, mut looks) = (0, 0);
        while res.len() < SAMPLE && looks < LOOKS {
            let Some(name) = self.names.pop_front() else {
                if folders > usize::from(u8::MAX) {
                    break;
                }
                folders += 1;
                // Only the sweeper has the time to look where nothing is counted.
                self.refill(directory, keep.is_none())?;
                continue;
            };
            looks += 1;
            if Some(&name) != keep {
                res.extend(see(shared, directory, &name)?);
            }
        }
        Ok(res)
    }

    fn refill(&mut self, directory: &Directory, all: bool) -> Result<(), StepError> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if (all || directory.counters.read(number) != Some(Count::default()))
            && let Some(folder) = directory.folder(number, false)?
        {
            let names = folder.names()?;
            self.verification.listed(directory, number, names.len());
            self.names.extend(names);
        }
        Ok(())
    }
}

fn see(
    shared: &Shared,
    directory: &Directory,
    name: &EntryPath,
) -> Result<Option<Seen>, StepError> {
    let Some(folder) = directory.folder(name.folder(), false)? else { return Ok(None) };
    let fd = match folder.open(name, OFlags::RDONLY) {
        Ok(Some(it)) => it,
        // As what cannot be read: a link, say, is not ours, and must not keep the others.
        Ok(None) | Err(StepError::Other(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let live = match probe(&fd, None, Part::Head) {
        Ok(Probe::Found(it)) if it.header.is_live(shared.now()) => {
            let stat = fstat(&fd);
            let written = stat.map_or((0, 0), |it| (it.st_mtime, it.st_mtime_nsec));
            Some(Live { stamp: it.header.stamp, written: as_numbers(written) })
        }
        // A file that cannot be read cannot be judged, and a newer release's is its own.
        Ok(Probe::Newer) | Err(_) => return Ok(None),
        Ok(_) => None,
    };
    Ok(Some(Seen { name: *name, live }))
}

/// Removes an entry if it is as it was seen. One whose folder is busy stays: somebody else will find it.
fn remove(shared: &Shared, directory: &Directory, seen: &Seen) -> Result<bool, StepError> {
    let Some(folder) = directory.folder(seen.name.folder(), false)? else { return Ok(false) };
    let Some(locked) = folder.try_lock(directory)? else { return Ok(false) };
    let Some(entry) = locked.entry_file(&seen.name)? else { return Ok(false) };
    let same = match (entry.probe(None, Part::Head)?, &seen.live) {
        (Probe::Newer, _) => false,
        (Probe::Found(it), Some(live)) => it.header.stamp == live.stamp,
        (Probe::Found(it), None) => !it.header.is_live(shared.now()),
        (_, live) => live.is_none(),
    };
    if same {
        entry.retire()?;
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

#[cfg(test)]
mod tests {
    use std::{fs, fs::File, path::PathBuf};

    use cache_core::Clock;
    use tempfile::TempDir;

    use super::*;
    use crate::{header::Header, options::Plan};

    fn place(max_entries: u64) -> (TempDir, Plan) {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan { max_entries, ..Plan::of(place.path().join("cache")) };
        (place, plan)
    }

    /// A folder with so many files of that content.
    fn fill(plan: &Plan, number: u8, count: usize, bytes: &[u8]) -> PathBuf {
        let folder = plan.path.join(format!("{number:02x}"));
        fs::create_dir_all(&folder).unwrap();
        for n in 0..count {
            fs::write(folder.join(format!("{n:030x}")), bytes).unwrap();
        }
        folder
    }

    /// "Never a listing of everything on a write", also where nothing of it may go.
    #[test]
    fn entries_of_a_newer_release_are_not_all_looked_at() {
        let (_place, plan) = place(1);
        let newer: Vec<u8> = b"\xffcch\x02".iter().copied().chain([0; 60]).collect();
        let folder = fill(&plan, 7, 300, &newer);
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        directory.counters.open(&directory).unwrap();
        directory.counters.put(7, Count { entries: 300, bytes: 300 * BLOCK });
        let shared = Shared::new(plan, Clock::system());
        let mut queue = Queue::default();
        let written = EntryPath::of("k");
        assert_eq!(queue.cull(&shared, &directory, Some(&written)).unwrap(), (0, 0));
        assert_eq!(queue.names.len(), 300 - LOOKS);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 300);
    }

    /// The settings allow it, so it is not the sweeper's to remove.
    #[test]
    fn a_value_that_takes_nearly_all_stays() {
        let (_place, plan) = place(1000);
        let plan = Plan { max_bytes: 4 << 20, max_value: 4 << 20, ..plan };
        let value = vec![b'1'; (4 << 20) - 5000];
        let header = Header {
            whole: true,
            key_len: 1,
            value_len: value.len() as u64,
            expires: 0,
            stamp: 1,
            value_sum: crate::header::value_sum(&value),
        };
        fill(&plan, 0, 1, &[header.encode(b"k"), value].concat());
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        directory.counters.open(&directory).unwrap();
        directory.counters.put(0, directory.folder(0, false).unwrap().unwrap().measure().unwrap());
        let shared = Shared::new(plan, Clock::system());
        assert_eq!(sweep(&shared, &directory, &mut Queue::default()), (0, 1));
    }

    /// A sample of it removes nothing, and the next one does.
    #[test]
    fn a_busy_folder_does_not_keep_a_write_from_making_room() {
        let (_place, plan) = place(2 * SAMPLE as u64 - 1);
        let whole =
            Header { whole: true, key_len: 1, value_len: 0, expires: 0, stamp: 1, value_sum: 0 };
        let value_sum = crate::header::value_sum(b"");
        let entry = Header { value_sum, ..whole }.encode(b"k");
        let busy = File::open(fill(&plan, 0, SAMPLE, &entry)).unwrap();
        fill(&plan, 1, SAMPLE, &entry);
        let shared = Arc::new(Shared::new(plan, Clock::system()));
        let count = Count { entries: SAMPLE as u64, bytes: SAMPLE as u64 * BLOCK };
        let counted = shared.write(shared.until(), |it| {
            it.counters.put(0, count);
            it.counters.put(1, count);
            Ok(())
        });
        counted.unwrap();
        // From the first folder on.
        shared.queue.lock().unwrap().begun = true;
        busy.lock().unwrap();
        make_room(&shared, &EntryPath::of("written"), 1);
        let directory = shared.open_directory().unwrap();
        assert!(!is_over(&shared, directory.counters.total()), "{:?}", directory.counters.total());
    }
}
