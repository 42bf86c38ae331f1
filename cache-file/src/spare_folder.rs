//! The folder `spare`: its files by number, and the removal of old ones.

use std::{
    os::fd::OwnedFd,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat},
    io::Errno,
};

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use rustix::fs::{RenameFlags, renameat_with};

use crate::root::SAFE;

/// The folder of spare files. Each has a number as its name.
#[derive(Debug)]
pub(crate) struct SpareFolder(OwnedFd);

/// The folder's name in the directory of the store.
pub(crate) const FOLDER: &str = "spare";
/// Begins each file's name; the number follows in hex.
const PREFIX: &str = "s";

impl SpareFolder {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens a file for reading and writing.
    pub(crate) fn open(&self, number: u64) -> Result<OwnedFd, Errno> {
        openat(&self.0, name_of(number), OFlags::RDWR | SAFE, Mode::empty())
    }

    /// Moves a file into the folder, from another folder and name. Fails with `EXIST` if another
    /// process has a file with this number, in which both would write.
    pub(crate) fn move_in(&self, from: &OwnedFd, name: &[u8], number: u64) -> Result<(), Errno> {
        let to = name_of(number);
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match renameat_with(from, name, &self.0, &to, RenameFlags::NOREPLACE) {
            // Not every file system can. Numbers are random, so that they hardly ever coincide.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            moved => return moved,
        }
        renameat(from, name, &self.0, to)
    }

    /// Moves a file out of the folder, to another folder and name.
    pub(crate) fn move_out(&self, number: u64, to: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        renameat(&self.0, name_of(number), to, name)
    }

    /// Deletes a file if it can be deleted; a later sweep tries again.
    pub(crate) fn delete(&self, number: u64) {
        let _ = unlinkat(&self.0, name_of(number), AtFlags::empty());
    }

    /// Deletes the files that are older than `age`, of this process and of others, which may have
    /// died. Returns the numbers of the younger files.
    pub(crate) fn sweep(&self, age: Duration) -> Result<Vec<u64>, Errno> {
        self.sweep_at(age, now())
    }

    fn sweep_at(&self, age: Duration, now: Duration) -> Result<Vec<u64>, Errno> {
        let (mut younger, mut deleted) = (Vec::new(), Ok(()));
        for file in Dir::read_from(&self.0)? {
            let file = file?;
            let name = file.file_name().to_bytes();
            let Some(number) = number_of(name) else { continue };
            let since = match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                // The time of the rename into this folder.
                Ok(it) if FileType::from_raw_mode(it.st_mode).is_file() => it.st_ctime,
                Ok(_) | Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
            let since = Duration::from_secs(u64::try_from(since).unwrap_or(0));
            // A time in the future means that the clock was set back, perhaps by years.
            if now.abs_diff(since) < age {
                younger.push(number);
                continue;
            }
            match unlinkat(&self.0, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // One file that cannot be deleted must not keep the others.
                Err(errno) => deleted = deleted.and(Err(errno)),
            }
        }
        deleted.map(|()| younger)
    }
}

/// Returns the time by the clock of the file system.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// Returns the number in a file's name; `None` for a foreign file.
fn number_of(name: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (name_of(number).as_bytes() == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn file_is_swept_after_the_clock_was_set_back() {
        let age = Duration::from_secs(60);
        let place = tempfile::tempdir().unwrap();
        let folder = SpareFolder::new(fs::File::open(place.path()).unwrap().into());
        fs::write(place.path().join(name_of(7)), "left by a killed process").unwrap();
        assert_eq!(folder.sweep_at(age, now().saturating_sub(age / 2)), Ok(vec![7]));
        assert_eq!(folder.sweep_at(age, now().saturating_sub(60 * age)), Ok(vec![]));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_names_that_the_store_gives_are_numbers() {
        assert_eq!(number_of(name_of(7).as_bytes()), Some(7));
        for foreign in ["notes", "s7", "s000000000000000G", "S0000000000000007", "s+00000000000007"]
        {
            assert_eq!(number_of(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
