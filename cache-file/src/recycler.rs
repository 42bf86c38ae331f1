//! Recycling of files: a new entry is written into the file of a removed one.

use std::{
    hash::{BuildHasher as _, RandomState},
    mem,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use cache_core::Result;
use rustix::io::Errno;

use crate::{
    counters::{BLOCK, disk_size},
    error,
    options::Plan,
    root::Root,
    spare_folder::{FOLDER, SpareFolder},
};

/// Keeps a few files of removed entries as spare files for new entries.
///
/// Deleting a file and creating another is the slowest work of a file system, and becomes slower
/// with the number of files. A writer uses three methods: [`keep`](Self::keep),
/// [`take`](Self::take) and [`free_all`](Self::free_all).
///
/// Only this process uses the files in its list. Another process may still sweep one of them.
#[derive(Debug)]
pub(crate) struct Recycler {
    root: Arc<Root>,
    /// The maximum number of spare files.
    max: usize,
    /// Opened when the first file is kept; `None` if it cannot be used.
    folder: OnceLock<Option<SpareFolder>>,
    list: Mutex<List>,
}

#[derive(Debug)]
struct List {
    numbers: Vec<u64>,
    next: u64,
    is_closed: bool,
}

/// A spare file for one entry. Dropping it deletes the file, unless it was published.
#[derive(Debug)]
pub(crate) struct SpareFile<'a> {
    folder: &'a SpareFolder,
    number: u64,
    is_published: bool,
}

/// A full store removes one entry for each new one, so a few files are enough.
const MAX: u64 = 64;
/// Larger files are deleted at once.
const LARGEST: u64 = 4 * BLOCK;
/// The maximum number of files in the folder, of all processes: a process that is killed leaves its
/// files behind.
const MAX_IN_FOLDER: usize = 256;
/// How long a file may wait for an entry.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(60);

/// Returns the part of `max_bytes` that is reserved for the spare files of one process.
pub(crate) fn reserved_bytes(plan: &Plan) -> u64 {
    max_files(plan) * LARGEST
}

/// Leaves enough of `max_bytes` for the largest value with its header and key.
fn max_files(plan: &Plan) -> u64 {
    let beside = plan.max_bytes.saturating_sub(disk_size(plan.max_value.saturating_add(BLOCK)));
    ((plan.max_bytes / 64).min(beside) / LARGEST).min(MAX)
}

impl Recycler {
    pub(crate) fn new(root: Arc<Root>, plan: &Plan) -> Self {
        // A random start, so that no two processes or stores use the same file.
        let next = RandomState::new().hash_one(std::process::id());
        Self {
            root,
            max: usize::try_from(max_files(plan)).unwrap_or(0),
            folder: OnceLock::new(),
            list: Mutex::new(List { numbers: Vec::new(), next, is_closed: false }),
        }
    }

    /// Takes over the file of a removed entry, under its name in a folder and of this length.
    ///
    /// Returns `false` if the file is not needed; it then stays where it is.
    pub(crate) fn keep(&self, from: &OwnedFd, name: &[u8], len: u64) -> bool {
        if disk_size(len) > LARGEST || self.max == 0 {
            return false;
        }
        let mut list = self.list();
        if list.is_closed || list.numbers.len() >= self.max {
            return false;
        }
        let Some(folder) = self.folder.get_or_init(|| self.open()) else { return false };
        let number = list.next;
        // Also after an error, because another process may have the number.
        list.next = number.wrapping_add(1);
        let is_kept = folder.move_in(from, name, number).is_ok();
        if is_kept {
            list.numbers.push(number);
        }
        is_kept
    }

    /// Returns a spare file, open for writing. No other caller gets the same one.
    pub(crate) fn take(&self) -> Option<(OwnedFd, SpareFile<'_>)> {
        let folder = self.folder()?;
        loop {
            let number = self.list().numbers.pop()?;
            match folder.open(number) {
                Ok(fd) => return Some((fd, SpareFile { folder, number, is_published: false })),
                Err(Errno::NOENT) => {} // another process has swept it
                Err(_) => {
                    folder.delete(number);
                    return None;
                }
            }
        }
    }

    /// Deletes all spare files of this process. Returns whether there were any.
    pub(crate) fn free_all(&self) -> bool {
        let numbers = mem::take(&mut self.list().numbers);
        let Some(folder) = self.folder() else { return false };
        for number in &numbers {
            folder.delete(*number);
        }
        !numbers.is_empty()
    }

    /// Returns whether there is no spare file.
    pub(crate) fn is_empty(&self) -> bool {
        self.list().numbers.is_empty()
    }

    /// Deletes all spare files of this process, and keeps none from now on. The sweeper may still
    /// use the open directory.
    pub(crate) fn close(&self) {
        self.list().is_closed = true;
        self.free_all();
    }

    /// Deletes the spare files that are older than `age`, of all processes.
    pub(crate) fn sweep(&self, age: Duration) -> Result<()> {
        let folder = match self.root.open_folder(FOLDER.as_bytes(), false) {
            Ok(Some(fd)) => SpareFolder::new(fd),
            Ok(None) => return Ok(()),
            // Something foreign has the folder's name, so there are no spare files.
            Err(error) if error::is_not_a_folder(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let known = self.list().numbers.clone();
        let younger = folder.sweep(age).map_err(|it| error::of(it, FOLDER))?;
        // Spare files that no longer exist free their places.
        self.list().numbers.retain(|it| younger.contains(it) || !known.contains(it));
        Ok(())
    }

    /// Returns whether the open folder of spare files was moved or deleted.
    pub(crate) fn is_moved(&self) -> bool {
        self.folder().is_some_and(|it| !self.root.contains(FOLDER.as_bytes(), it.fd()))
    }

    /// Gives the next spare file this number.
    #[cfg(test)]
    pub(crate) fn set_next(&self, number: u64) {
        self.list().next = number;
    }

    /// Opens the folder. `None` if it cannot be opened, or if other processes left too many files.
    fn open(&self) -> Option<SpareFolder> {
        let fd = self.root.open_folder(FOLDER.as_bytes(), true).ok().flatten()?;
        let folder = SpareFolder::new(fd);
        folder.sweep(MAX_AGE).is_ok_and(|it| it.len() <= MAX_IN_FOLDER).then_some(folder)
    }

    fn folder(&self) -> Option<&SpareFolder> {
        self.folder.get()?.as_ref()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that is closed or dropped leaves no spare files behind.
impl Drop for Recycler {
    fn drop(&mut self) {
        self.free_all();
    }
}

impl SpareFile<'_> {
    /// Moves the file to its place among the entries.
    pub(crate) fn publish(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        self.folder.move_out(self.number, folder, name)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for SpareFile<'_> {
    fn drop(&mut self) {
        if !self.is_published {
            self.folder.delete(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn spare_files_never_take_the_room_of_the_largest_value() {
        let plan = |max_value| Plan { max_bytes: 1 << 30, max_value, ..Plan::of(PathBuf::new()) };
        assert_eq!(max_files(&plan(1 << 28)), 64);
        assert_eq!(reserved_bytes(&plan(1 << 30)), 0);
        assert_eq!(reserved_bytes(&plan((1 << 30) - 3 * LARGEST)), 2 * LARGEST);
    }
}
