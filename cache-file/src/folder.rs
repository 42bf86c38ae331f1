//! One of the 256 folders of entries: opening and listing its files.

use std::{
    os::fd::OwnedFd,
    sync::{Mutex, atomic::AtomicBool},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};

use crate::{
    counters::{Count, disk_size},
    entry_path::{EntryPath, folder_name},
    error::{self, StepError},
    probe::{Part, Probe, probe},
    root::SAFE,
};

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) number: u8,
    pub(crate) fd: OwnedFd,
    /// Keeps the threads of this process apart, because a file lock belongs to the process.
    pub(crate) threads: Mutex<()>,
    /// A writer timed out waiting for the lock, and no other has got it since.
    pub(crate) is_stuck: AtomicBool,
}

impl Folder {
    pub(crate) fn new(number: u8, fd: OwnedFd) -> Self {
        Self { number, fd, threads: Mutex::new(()), is_stuck: AtomicBool::new(false) }
    }

    /// Reads the entry of a key without a lock, so a write may be under way.
    pub(crate) fn probe(
        &self,
        path: &EntryPath,
        key: &str,
        part: Part,
    ) -> Result<Probe, StepError> {
        match self.open(path, OFlags::RDONLY)? {
            Some(fd) => probe(&fd, Some(key), part).map_err(|it| error::of(it, path).into()),
            None => Ok(Probe::Absent),
        }
    }

    /// Opens a file. `None` if it does not exist.
    pub(crate) fn open(
        &self,
        path: &EntryPath,
        access: OFlags,
    ) -> Result<Option<OwnedFd>, StepError> {
        match openat(&self.fd, path.file(), access | SAFE, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) if self.is_deleted() => Err(StepError::Deleted),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(error::of(errno, path).into()),
        }
    }

    /// Lists the paths of all entries, without foreign files.
    pub(crate) fn paths(&self) -> Result<Vec<EntryPath>, StepError> {
        let mut res = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(|it| self.error(it))? {
            let entry = entry.map_err(|it| self.error(it))?;
            res.extend(EntryPath::in_folder(self.number, entry.file_name().to_bytes()));
        }
        Ok(res)
    }

    /// Counts the entries and their disk space. An empty file is not an entry.
    pub(crate) fn measure(&self) -> Result<Count, StepError> {
        let mut res = Count::default();
        for path in self.paths()? {
            match statat(&self.fd, path.file(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(it) if FileType::from_raw_mode(it.st_mode).is_file() && it.st_size > 0 => {
                    res.entries += 1;
                    let bytes = disk_size(u64::try_from(it.st_size).unwrap_or(0));
                    res.bytes = res.bytes.saturating_add(bytes);
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(error::of(errno, path).into()),
            }
        }
        Ok(res)
    }

    /// Returns the folder's name, to show it in errors.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&folder_name(self.number)).into_owned()
    }

    fn error(&self, errno: Errno) -> StepError {
        error::of(errno, self.name()).into()
    }

    /// Returns whether the open folder was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        fstat(&self.fd).is_ok_and(|it| it.st_nlink == 0)
    }
}
