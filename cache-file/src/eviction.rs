//! Eviction: removes expired and old entries, a few at a time, from samples.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cache_core::Clock;
use rustix::fs::{OFlags, fstat};

use crate::{
    bounds::Bounds,
    counters::Count,
    directory::Directory,
    entry_file::EntryFile,
    entry_path::EntryPath,
    error::StepError,
    expiry,
    options::Plan,
    probe::{Part, Probe, probe},
    verify::Verification,
};

/// Keeps a store within its bounds.
#[derive(Debug)]
pub(crate) struct Evictor {
    bounds: Bounds,
    clock: Clock,
    /// How long one call may work: a longer call would exceed its deadline.
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    verification: Verification,
}

/// The entries to sample next: those of one folder, then those of the next.
///
/// Every entry is sampled equally often. A write lists at most one folder, and only once in
/// hundreds of writes.
#[derive(Debug)]
struct Queue {
    paths: VecDeque<EntryPath>,
    next_folder: u8,
}

/// An entry in a sample.
#[derive(Debug)]
struct Sampled {
    path: EntryPath,
    /// `None` if it has expired, or if the file holds no entry.
    live: Option<Live>,
}

#[derive(Debug, PartialEq, Eq)]
struct Live {
    stamp: u64,
    /// The time of the last write, in seconds and nanoseconds.
    written: (i64, i64),
}

/// The number of entries in a sample.
const SAMPLE: usize = 16;
/// The number of samples per write, besides one for each block that the write has added. More than
/// one, so that eviction catches up.
const SAMPLES: u64 = 8;
/// How long the sweeper verifies counts at a time: some thousand entries.
const SWEEPER_LIMIT: Duration = Duration::from_millis(10);
/// The number of files that are read for one sample. Entries of newer releases are not sampled, and
/// all entries may be such.
const MAX_READS: usize = 4 * SAMPLE;

impl Evictor {
    pub(crate) fn new(plan: &Plan, clock: Clock) -> Self {
        // A random start, so that several processes sample different folders.
        let random = RandomState::new().hash_one(std::process::id());
        let queue = Queue { paths: VecDeque::new(), next_folder: random.to_le_bytes()[7] };
        Self {
            bounds: Bounds::of(plan),
            clock,
            limit: plan.patience / 4,
            state: Mutex::new(State { queue, verification: Verification::default() }),
        }
    }

    /// Removes a few entries if the store exceeds its bounds, after a write that added `growth`
    /// blocks. The entry of that write stays.
    ///
    /// Errors are ignored, because the write itself has succeeded.
    pub(crate) fn make_room(&self, directory: &Directory, written: &EntryPath, growth: u64) {
        if !self.is_exceeded(directory) {
            return;
        }
        // Another thread that evicts makes room for this one, too.
        let Ok(mut state) = self.state.try_lock() else { return };
        let began = Instant::now();
        if !state.verification.proceed(directory, began, self.limit) {
            return;
        }
        for _ in 0..growth.saturating_add(SAMPLES) {
            if !self.is_exceeded(directory) || began.elapsed() > self.limit {
                return;
            }
            match self.evict(&mut state, directory, Some(written)) {
                Ok((_, 0)) | Err(_) => return,
                // Perhaps nothing was removed, because the sampled folder is locked.
                Ok(_) => {}
            }
        }
    }

    /// Removes the expired entries of a sample, and some live ones if the store exceeds its bounds.
    /// Returns how many of how many were removed.
    ///
    /// The sweeper has its own evictor: a write that finds the queue in use evicts nothing.
    pub(crate) fn sweep(&self, directory: &Directory) -> (usize, usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_exceeded(directory) {
            state.verification.proceed(directory, Instant::now(), SWEEPER_LIMIT);
        }
        self.evict(&mut state, directory, None).unwrap_or_default()
    }

    fn is_exceeded(&self, directory: &Directory) -> bool {
        self.bounds.are_exceeded(directory.counters.total())
    }

    /// Removes the expired entries of a sample. If the store exceeds its bounds, also removes some
    /// of the entries that were written longest ago. Returns how many of how many were removed.
    fn evict(
        &self,
        state: &mut State,
        directory: &Directory,
        keep: Option<&EntryPath>,
    ) -> Result<(usize, usize), StepError> {
        let mut sample = self.sample(state, directory, keep)?;
        sample.sort_by_key(|it| it.live.as_ref().map(|live| live.written));
        let is_exceeded = state.verification.is_done() && self.is_exceeded(directory);
        let evicted = if is_exceeded { self.bounds.evicted_per_sample() } else { 0 };
        let evicted = usize::try_from(evicted).unwrap_or(0);
        let mut removed = 0;
        for (n, entry) in sample.iter().enumerate() {
            // Removing an expired entry makes room, too.
            let stays = n >= evicted || self.bounds.have_room(directory.counters.total());
            if entry.live.is_some() && stays {
                break;
            }
            removed += usize::from(self.remove(directory, entry)?);
        }
        Ok((removed, sample.len()))
    }

    fn sample(
        &self,
        state: &mut State,
        directory: &Directory,
        keep: Option<&EntryPath>,
    ) -> Result<Vec<Sampled>, StepError> {
        let mut res = Vec::with_capacity(SAMPLE);
        let (mut folders, mut reads) = (0, 0);
        while res.len() < SAMPLE && reads < MAX_READS {
            let Some(path) = state.queue.paths.pop_front() else {
                if folders > usize::from(u8::MAX) {
                    break;
                }
                folders += 1;
                // Only the sweeper has the time to list folders whose count is 0.
                state.refill(directory, keep.is_none())?;
                continue;
            };
            reads += 1;
            if Some(&path) != keep {
                res.extend(self.read(directory, &path)?);
            }
        }
        Ok(res)
    }

    /// Reads an entry for a sample. `None` if it must stay, or does not exist.
    fn read(&self, directory: &Directory, path: &EntryPath) -> Result<Option<Sampled>, StepError> {
        let Some(folder) = directory.folder(path.folder(), false)? else { return Ok(None) };
        let fd = match folder.open(path, OFlags::RDONLY) {
            Ok(Some(fd)) => fd,
            // A foreign file that cannot be opened, such as a link, must not stop the eviction.
            Ok(None) | Err(StepError::Other(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let live = match probe(&fd, None, Part::Head) {
            Ok(Probe::Found(it)) if it.header.is_live(expiry::now(&self.clock)) => {
                let written = fstat(&fd).map_or((0, 0), |it| (it.st_mtime, it.st_mtime_nsec));
                Some(Live { stamp: it.header.stamp, written: to_numbers(written) })
            }
            // An entry of a newer release stays, and so does a file that cannot be read.
            Ok(Probe::Newer) | Err(_) => return Ok(None),
            Ok(_) => None,
        };
        Ok(Some(Sampled { path: *path, live }))
    }

    /// Removes an entry if it has not changed since it was sampled. An entry in a locked folder
    /// stays; a later sample finds it.
    fn remove(&self, directory: &Directory, sampled: &Sampled) -> Result<bool, StepError> {
        let path = &sampled.path;
        let Some(folder) = directory.folder(path.folder(), false)? else { return Ok(false) };
        let Some(lock) = directory.try_lock_folder(folder)? else { return Ok(false) };
        let Some(file) = EntryFile::open(&lock, path)? else { return Ok(false) };
        let is_unchanged = match (file.probe(None, Part::Head)?, &sampled.live) {
            (Probe::Newer, _) => false,
            (Probe::Found(it), Some(live)) => it.header.stamp == live.stamp,
            (Probe::Found(it), None) => !it.header.is_live(expiry::now(&self.clock)),
            (_, live) => live.is_none(),
        };
        if is_unchanged {
            file.recycle()?;
        }
        Ok(is_unchanged)
    }
}

impl State {
    /// Lists the next folder; a folder whose count is 0 only if `all`.
    fn refill(&mut self, directory: &Directory, all: bool) -> Result<(), StepError> {
        let number = self.queue.next_folder;
        self.queue.next_folder = number.wrapping_add(1);
        if (all || directory.counters.read(number) != Some(Count::default()))
            && let Some(folder) = directory.folder(number, false)?
        {
            self.verification.add(directory, number);
            self.queue.paths.extend(folder.paths()?);
        }
        Ok(())
    }
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_possible_wrap,
    reason = "the types differ by platform"
)]
fn to_numbers((secs, nanos): (impl Into<i64>, impl TryInto<i64>)) -> (i64, i64) {
    (secs.into(), nanos.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::File, path::PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        counters::BLOCK,
        header::{Header, checksum},
    };

    fn plan(max_entries: u64) -> (TempDir, Plan) {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan { max_entries, ..Plan::of(place.path().join("cache")) };
        (place, plan)
    }

    /// Creates a folder with `count` files of the same content.
    fn fill(plan: &Plan, number: u8, count: usize, bytes: &[u8]) -> PathBuf {
        let folder = plan.path.join(format!("{number:02x}"));
        fs::create_dir_all(&folder).unwrap();
        for n in 0..count {
            fs::write(folder.join(format!("{n:030x}")), bytes).unwrap();
        }
        folder
    }

    fn open(plan: &Plan) -> Directory {
        let directory = Directory::open(plan, true).unwrap().unwrap();
        directory.open_counters().unwrap();
        directory
    }

    fn entry(value: &[u8]) -> Vec<u8> {
        let header = Header {
            is_complete: true,
            key_len: 1,
            value_len: value.len() as u64,
            expires: 0,
            stamp: 1,
            value_checksum: checksum(value),
        };
        [&header.encode(b"k"), value].concat()
    }

    /// A write never lists everything, even if nothing can be evicted.
    #[test]
    fn sample_reads_a_limited_number_of_entries_of_a_newer_release() {
        let (_place, plan) = plan(1);
        let newer: Vec<u8> = b"\xffcch\x02".iter().copied().chain([0; 60]).collect();
        let folder = fill(&plan, 7, 300, &newer);
        let directory = open(&plan);
        directory.counters.put(7, Count { entries: 300, bytes: 300 * BLOCK });
        let evictor = Evictor::new(&plan, Clock::system());
        let mut state = evictor.state.lock().unwrap();
        let written = EntryPath::of("k");
        assert_eq!(evictor.evict(&mut state, &directory, Some(&written)).unwrap(), (0, 0));
        assert_eq!(state.queue.paths.len(), 300 - MAX_READS);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 300);
    }

    #[test]
    fn sweeper_keeps_a_value_that_nearly_fills_the_store() {
        let (_place, plan) = plan(1000);
        let plan = Plan { max_bytes: 4 << 20, max_value: 4 << 20, ..plan };
        fill(&plan, 0, 1, &entry(&vec![b'1'; (4 << 20) - 5000]));
        let directory = open(&plan);
        directory.recount(0).unwrap();
        assert_eq!(Evictor::new(&plan, Clock::system()).sweep(&directory), (0, 1));
    }

    #[test]
    fn write_makes_room_although_the_first_sampled_folder_is_locked() {
        let (_place, plan) = plan(2 * SAMPLE as u64 - 1);
        let locked = File::open(fill(&plan, 0, SAMPLE, &entry(b""))).unwrap();
        fill(&plan, 1, SAMPLE, &entry(b""));
        let directory = open(&plan);
        let count = Count { entries: SAMPLE as u64, bytes: SAMPLE as u64 * BLOCK };
        directory.counters.put(0, count);
        directory.counters.put(1, count);
        let evictor = Evictor::new(&plan, Clock::system());
        evictor.state.lock().unwrap().queue.next_folder = 0;
        locked.lock().unwrap();
        evictor.make_room(&directory, &EntryPath::of("written"), 1);
        assert!(!evictor.is_exceeded(&directory), "{:?}", directory.counters.total());
    }
}
