//! Files whose entries are gone, for the entries that come.

use std::{
    hash::{BuildHasher as _, RandomState},
    mem,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use cache_core::Result;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat},
    io::Errno,
};

use crate::{
    counters::{BLOCK, room},
    directory::{Directory, SAFELY},
    error,
    options::Plan,
};

/// A few files whose entries were evicted or deleted, in a folder of their own. A new entry is written into one of them, and then gets its
/// name: to free a file and to make another is what file systems are slow at, and slower the more there are.
///
/// What is in this process's list is its own. It may be gone all the same, when it was swept.
#[derive(Debug)]
pub(crate) struct Recycler {
    most: usize,
    folder: OnceLock<Option<OwnedFd>>,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    numbers: Vec<u64>,
    next: u64,
    is_closed: bool,
}

/// A file that waits for an entry.
#[derive(Debug)]
pub(crate) struct SpareFile {
    pub(crate) number: u64,
    pub(crate) fd: OwnedFd,
}

/// By which the folder is found.
pub(crate) const FOLDER: &str = "spare";
/// A store that is full gives one for one, so a few are enough.
const MOST: u64 = 64;
/// Larger files are given back at once.
const LARGEST: u64 = 4 * BLOCK;
/// How many there may be of all processes: those that end soon leave theirs behind.
const MOST_OF_ALL: usize = 256;
/// How long one may wait for an entry.
pub(crate) const AGE: Duration = Duration::from_secs(60);
/// Of a name; the number in hex comes after it.
const PREFIX: &str = "s";

/// What the spares of a process may take of the store's bytes.
pub(crate) fn reserve(plan: &Plan) -> u64 {
    most(plan) * LARGEST
}

/// Beside the largest value, with its header and key, there may be room for none.
fn most(plan: &Plan) -> u64 {
    let beside = plan.max_bytes.saturating_sub(room(plan.max_value.saturating_add(BLOCK)));
    ((plan.max_bytes / 64).min(beside) / LARGEST).min(MOST)
}

impl Recycler {
    pub(crate) fn new(plan: &Plan) -> Self {
        // Different in each process and store, so that no two have the same file.
        let next = RandomState::new().hash_one(std::process::id());
        Self {
            most: usize::try_from(most(plan)).unwrap_or(0),
            folder: OnceLock::new(),
            free: Mutex::new(Free { numbers: Vec::new(), next, is_closed: false }),
        }
    }

    /// Keeps the file of that name and length, whose entry is to go. `false` if it is not wanted: it is still there then.
    pub(crate) fn keep(
        &self,
        directory: &Directory,
        from: &OwnedFd,
        name: &[u8],
        len: u64,
    ) -> bool {
        if room(len) > LARGEST || self.most == 0 {
            return false;
        }
        let mut free = self.free();
        if free.is_closed || free.numbers.len() >= self.most {
            return false;
        }
        let Some(folder) = self.folder.get_or_init(|| open(directory)) else { return false };
        let number = free.next;
        let kept = renameat(from, name, folder, name_of(number)).is_ok();
        if kept {
            free.next = number.wrapping_add(1);
            free.numbers.push(number);
        }
        kept
    }

    /// One that no other caller has.
    pub(crate) fn take(&self) -> Option<SpareFile> {
        let folder = self.folder()?;
        loop {
            let number = self.free().numbers.pop()?;
            let flags = OFlags::RDWR | SAFELY;
            match openat(folder, name_of(number), flags, Mode::empty()) {
                Ok(fd) => return Some(SpareFile { number, fd }),
                Err(Errno::NOENT) => {} // it was swept
                Err(_) => {
                    self.discard(number);
                    return None;
                }
            }
        }
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.free().numbers.is_empty()
    }

    /// Gives a file its name, which nobody else has.
    pub(crate) fn place(&self, spare: u64, into: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let folder = self.folder().ok_or(Errno::NOENT)?;
        renameat(folder, name_of(spare), into, name)
    }

    pub(crate) fn discard(&self, spare: u64) {
        if let Some(folder) = self.folder() {
            let _ = unlinkat(folder, name_of(spare), AtFlags::empty());
        }
    }

    /// Deletes all of this process; whether there were any.
    pub(crate) fn free_all(&self) -> bool {
        let numbers = mem::take(&mut self.free().numbers);
        for it in &numbers {
            self.discard(*it);
        }
        !numbers.is_empty()
    }

    /// Deletes all of this process, and keeps none from now on: who has the directory in hand, as the sweeper may, is not waited for.
    pub(crate) fn close(&self) {
        self.free().is_closed = true;
        self.free_all();
    }

    /// Deletes what has waited for so long, of this process and of others, which may have died: who still wants one notices.
    pub(crate) fn sweep(directory: &Directory, age: Duration) -> Result<()> {
        match directory.open_folder(FOLDER.as_bytes(), false) {
            Ok(Some(folder)) => directory.recycler.sweep_in(&folder, age),
            Ok(None) => Ok(()),
            // It is foreign, so there are none.
            Err(error) if error::is_of_no_folder(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sweep_in(&self, folder: &OwnedFd, age: Duration) -> Result<()> {
        let known = self.free().numbers.clone();
        let left = sweep(folder, age, now()).map_err(|it| error::of(it, FOLDER))?;
        // For what is gone, by whomever, there is place again.
        self.free().numbers.retain(|it| left.contains(it) || !known.contains(it));
        Ok(())
    }

    /// Once a file was kept.
    pub(crate) fn folder(&self) -> Option<&OwnedFd> {
        self.folder.get()?.as_ref()
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is left behind by who closes the store, or drops it.
impl Drop for Recycler {
    fn drop(&mut self) {
        self.free_all();
    }
}

/// The folder, if there is one and there are few files in it.
fn open(directory: &Directory) -> Option<OwnedFd> {
    let folder = directory.open_folder(FOLDER.as_bytes(), true).ok().flatten()?;
    sweep(&folder, AGE, now()).is_ok_and(|left| left.len() <= MOST_OF_ALL).then_some(folder)
}

/// Which are left, as they are too young.
fn sweep(folder: &OwnedFd, age: Duration, now: Duration) -> Result<Vec<u64>, Errno> {
    let (mut left, mut res) = (Vec::new(), Ok(()));
    for file in Dir::read_from(folder)? {
        let file = file?;
        let name = file.file_name().to_bytes();
        let Some(number) = number_of(name) else { continue };
        let since = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // When it was given this name.
            Ok(it) if FileType::from_raw_mode(it.st_mode).is_file() => it.st_ctime,
            Ok(_) | Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        let since = Duration::from_secs(u64::try_from(since).unwrap_or(0));
        // A time to come is of a clock that was set back since, and would be long in coming.
        if now.abs_diff(since) < age {
            left.push(number);
            continue;
        }
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // What cannot be deleted does not keep the rest.
            Err(errno) => res = res.and(Err(errno)),
        }
    }
    res.map(|()| left)
}

/// By the clock of files.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// `None` if the name is none of ours.
fn number_of(name: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (name_of(number).as_bytes() == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, time::Instant};

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        counters::Count,
        entry_file::New,
        entry_path::EntryPath,
        error::StepError,
        folder::FolderLock,
        probe::{Part, Probe},
    };

    fn plan(path: PathBuf, max_bytes: u64) -> Plan {
        Plan { max_bytes, max_value: max_bytes / 4, ..Plan::of(path) }
    }

    fn directory(max_bytes: u64) -> (TempDir, PathBuf, Directory) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("cache");
        let plan = plan(path.clone(), max_bytes);
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        directory.counters.open(&directory).unwrap();
        (place, path.join(FOLDER), directory)
    }

    /// What a step does under the lock of a key's folder.
    fn with<T>(
        directory: &Directory,
        key: &str,
        step: impl FnOnce(&FolderLock<'_>, &EntryPath) -> T,
    ) -> T {
        let name = EntryPath::of(key);
        let folder = directory.folder(name.folder(), true).unwrap().unwrap();
        let locked = folder.lock(directory, Instant::now() + Duration::from_secs(20)).unwrap();
        step(&locked, &name)
    }

    fn write(directory: &Directory, key: &str, len: usize) -> Result<(), StepError> {
        let value = Bytes::from(vec![b'x'; len]);
        with(directory, key, |locked, name| {
            locked.entry_file_or_new(name)?.write(&New { key, value: &value, expires: 0, stamp: 1 })
        })
    }

    fn retire(directory: &Directory, key: &str) {
        with(directory, key, |it, name| it.entry_file(name).unwrap().unwrap().retire().unwrap());
    }

    fn count(folder: &PathBuf) -> usize {
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn a_new_entry_takes_the_file_of_one_that_went() {
        let (_place, spare, directory) = directory(1 << 30);
        write(&directory, "old", 9000).unwrap();
        assert_eq!((count(&spare), directory.counters.total().entries), (0, 1));
        retire(&directory, "old");
        assert_eq!((count(&spare), directory.counters.total()), (1, Count::default()));
        write(&directory, "new", 10).unwrap();
        assert_eq!(count(&spare), 0);
        let total = directory.counters.total();
        assert_eq!((total.entries, total.bytes), (1, BLOCK), "the rest of it was given back");
    }

    /// Not even of the same key.
    #[test]
    fn nothing_is_seen_of_what_a_file_held_before() {
        let (_place, _, directory) = directory(1 << 30);
        write(&directory, "k", 100).unwrap();
        retire(&directory, "k");
        with(&directory, "k", |locked, name| {
            let entry = locked.entry_file_or_new(name).unwrap();
            assert!(matches!(entry.probe(Some("k"), Part::Value).unwrap(), Probe::Absent));
            assert!(
                locked.entry_file(name).unwrap().is_none(),
                "it has no name before it is written"
            );
        });
    }

    #[test]
    fn few_are_kept_and_none_that_is_large() {
        let (_place, spare, directory) = directory(1 << 30);
        for n in 0..100 {
            write(&directory, &n.to_string(), 10).unwrap();
        }
        for n in 0..100 {
            retire(&directory, &n.to_string());
        }
        assert_eq!(count(&spare), 64);
        drop(directory);
        assert_eq!(count(&spare), 0, "none is left by who ends well");

        let (_place, spare, directory) = self::directory(1 << 30);
        write(&directory, "large", 20_000).unwrap();
        retire(&directory, "large");
        assert_eq!(count(&spare), 0);
        let (_place, spare, directory) = self::directory(1 << 16);
        write(&directory, "in a small store", 10).unwrap();
        retire(&directory, "in a small store");
        assert_eq!(count(&spare), 0);
    }

    /// What fits `max_bytes` alone would be too much at once, if it left room for files that nobody needs.
    #[test]
    fn the_largest_value_has_the_room_that_it_may_take() {
        let (_place, _, directory) = directory(1 << 30);
        assert_eq!(directory.recycler.most, 64);
        let plan = |max_value| Plan { max_value, ..plan(PathBuf::new(), 1 << 30) };
        assert_eq!(reserve(&plan(1 << 30)), 0);
        assert_eq!(reserve(&plan((1 << 30) - 3 * LARGEST)), 2 * LARGEST);
    }

    /// Its other name is somebody's copy.
    #[test]
    fn a_file_with_another_name_is_not_used_again() {
        let (place, spare, directory) = directory(1 << 30);
        write(&directory, "k", 10).unwrap();
        let name = EntryPath::of("k").to_string();
        fs::hard_link(place.path().join("cache").join(name), place.path().join("copy")).unwrap();
        retire(&directory, "k");
        assert_eq!(count(&spare), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_foreign_stays() {
        let (_place, spare, directory) = directory(1 << 30);
        write(&directory, "k", 10).unwrap();
        retire(&directory, "k");
        fs::write(spare.join("notes"), "foreign").unwrap();
        fs::write(spare.join("s0123456789abcdef"), "of a process that was killed").unwrap();
        Recycler::sweep(&directory, AGE).unwrap();
        assert_eq!(count(&spare), 3, "they are not old enough");
        Recycler::sweep(&directory, Duration::ZERO).unwrap();
        assert_eq!(count(&spare), 1);
        assert_eq!(fs::read_to_string(spare.join("notes")).unwrap(), "foreign");
        write(&directory, "k", 10).unwrap();
        assert_eq!(directory.counters.total().entries, 1, "one that was swept is done without");
    }

    #[test]
    fn there_is_place_again_for_as_many_as_were_swept() {
        let (_place, spare, directory) = directory(1 << 30);
        for n in 0..65 {
            write(&directory, &n.to_string(), 10).unwrap();
        }
        for n in 0..64 {
            retire(&directory, &n.to_string());
        }
        Recycler::sweep(&directory, Duration::ZERO).unwrap();
        retire(&directory, "64");
        assert_eq!(count(&spare), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_none_for_ever() {
        let (_place, spare, directory) = directory(1 << 30);
        let folder = directory.open_folder(FOLDER.as_bytes(), true).unwrap().unwrap();
        fs::write(spare.join(name_of(7)), "of a process that was killed").unwrap();
        assert_eq!(sweep(&folder, AGE, now().saturating_sub(AGE / 2)), Ok(vec![7]));
        assert_eq!(sweep(&folder, AGE, now().saturating_sub(60 * AGE)), Ok(vec![]));
        assert_eq!(count(&spare), 0);
    }

    #[test]
    fn one_that_is_swept_while_it_is_written_is_tried_again() {
        let (_place, _, directory) = directory(1 << 30);
        write(&directory, "old", 10).unwrap();
        retire(&directory, "old");
        let value = Bytes::from_static(b"1");
        let new = New { key: "new", value: &value, expires: 0, stamp: 1 };
        with(&directory, "new", |locked, name| {
            let mut entry = locked.entry_file_or_new(name).unwrap();
            Recycler::sweep(&directory, Duration::ZERO).unwrap();
            assert!(matches!(entry.write(&new), Err(StepError::Deleted)));
            assert!(locked.entry_file(name).unwrap().is_none());
        });
        assert_eq!(directory.counters.total().entries, 0);
    }

    /// Programs that run for a moment, one after the other, leave theirs to nobody.
    #[test]
    fn no_more_are_kept_where_many_were_left() {
        let (_place, spare, directory) = directory(1 << 30);
        drop(directory.open_folder(FOLDER.as_bytes(), true).unwrap());
        for n in 0..=MOST_OF_ALL as u64 {
            fs::write(spare.join(name_of(n)), "").unwrap();
        }
        write(&directory, "k", 10).unwrap();
        retire(&directory, "k");
        assert_eq!(count(&spare), MOST_OF_ALL + 1);
    }
}
