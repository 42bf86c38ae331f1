//! A folder: its lock, and who holds it.

use std::{
    cell::Cell,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, statat,
        unlinkat,
    },
    io::Errno,
};

use crate::{
    counters::{BLOCK, Change, Count, room},
    directory::{Directory, SAFELY},
    entry_file::EntryFile,
    entry_path::{EntryPath, folder_name},
    error::{self, StepError},
    probe::{Part, Probe, probe},
};

/// One of the 256 folders. Its lock is on the folder itself, which nobody replaces: `flock` among processes, and a mutex
/// among the threads of this one, as a descriptor's lock is the process's.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) number: u8,
    fd: OwnedFd,
    threads: Mutex<()>,
    /// Somebody waited for the lock in vain, and nobody has got it since.
    is_stuck: AtomicBool,
}

/// The only writer in a folder.
#[derive(Debug)]
pub(crate) struct FolderLock<'a> {
    pub(crate) folder: &'a Folder,
    directory: &'a Directory,
    change: Cell<Change>,
    _thread: MutexGuard<'a, ()>,
}

impl Folder {
    pub(crate) fn new(number: u8, fd: OwnedFd) -> Self {
        Self { number, fd, threads: Mutex::new(()), is_stuck: AtomicBool::new(false) }
    }

    /// What a reader sees, who waits for nobody: it may be in the middle of a write.
    pub(crate) fn probe(
        &self,
        name: &EntryPath,
        key: &str,
        part: Part,
    ) -> Result<Probe, StepError> {
        match self.open(name, OFlags::RDONLY)? {
            Some(fd) => probe(&fd, Some(key), part).map_err(|it| error::of(it, name).into()),
            None => Ok(Probe::Absent),
        }
    }

    /// `None` if it is not there.
    pub(crate) fn open(
        &self,
        name: &EntryPath,
        access: OFlags,
    ) -> Result<Option<OwnedFd>, StepError> {
        match openat(&self.fd, name.file(), access | SAFELY, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) if self.is_gone() => Err(StepError::Deleted),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(error::of(errno, name).into()),
        }
    }

    /// Waits for the lock until then, and no longer. Where others have waited in vain, the threads have better things to do.
    pub(crate) fn lock<'a>(
        &'a self,
        directory: &'a Directory,
        until: Instant,
    ) -> Result<FolderLock<'a>, StepError> {
        for _ in 0..SPINS {
            if let Some(locked) = self.try_lock(directory)? {
                return Ok(locked);
            }
            thread::yield_now();
        }
        let was_stuck = self.is_stuck.load(Ordering::Relaxed);
        let until = if was_stuck { until.min(Instant::now() + WAIT_IF_STUCK) } else { until };
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(locked) = self.try_lock(directory)? {
                return Ok(locked);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.is_stuck.store(true, Ordering::Relaxed);
        Err(error::locked(String::from_utf8_lossy(&folder_name(self.number))).into())
    }

    /// `None` if another thread or process has it.
    pub(crate) fn try_lock<'a>(
        &'a self,
        directory: &'a Directory,
    ) -> Result<Option<FolderLock<'a>>, StepError> {
        let thread = match self.threads.try_lock() {
            Ok(it) => it,
            Err(TryLockError::Poisoned(it)) => it.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        match flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(errno) => {
                let folder = folder_name(self.number);
                return Err(error::of(errno, String::from_utf8_lossy(&folder)).into());
            }
        }
        self.is_stuck.store(false, Ordering::Relaxed);
        Ok(Some(FolderLock { folder: self, directory, change: Cell::default(), _thread: thread }))
    }

    /// The names of all entries. Others' files are left out.
    pub(crate) fn names(&self) -> Result<Vec<EntryPath>, StepError> {
        let told = |errno| {
            StepError::Other(error::of(errno, String::from_utf8_lossy(&folder_name(self.number))))
        };
        let mut res = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(told)? {
            let entry = entry.map_err(told)?;
            res.extend(EntryPath::in_folder(self.number, entry.file_name().to_bytes()));
        }
        Ok(res)
    }

    /// How many entries there are and what they take. Empty files are none.
    pub(crate) fn measure(&self) -> Result<Count, StepError> {
        let mut res = Count::default();
        for name in self.names()? {
            match statat(&self.fd, name.file(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(it) if FileType::from_raw_mode(it.st_mode).is_file() && it.st_size > 0 => {
                    res.entries += 1;
                    let room = room(u64::try_from(it.st_size).unwrap_or(0));
                    res.bytes = res.bytes.saturating_add(room);
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(error::of(errno, name).into()),
            }
        }
        Ok(res)
    }

    /// Whether it is still there. It may have been moved away, and there may be another one.
    pub(crate) fn is_in(&self, directory: &Directory) -> bool {
        directory.leads_to(&folder_name(self.number), &self.fd)
    }

    fn is_gone(&self) -> bool {
        fstat(&self.fd).is_ok_and(|it| it.st_nlink == 0)
    }
}

/// A holder is done in microseconds, unless it waits for the disk.
const SPINS: u32 = 20;
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
/// Long enough for one who is only slow, and so short that a few threads do not run out.
const WAIT_IF_STUCK: Duration = Duration::from_millis(5);

impl FolderLock<'_> {
    /// The file of that name, if it is there.
    pub(crate) fn entry_file<'s>(
        &'s self,
        name: &'s EntryPath,
    ) -> Result<Option<EntryFile<'s>>, StepError> {
        let fd = self.folder.open(name, OFlags::RDWR)?;
        fd.map(|fd| EntryFile::new(self, name, fd)).transpose()
    }

    /// The file of that name, or one without an entry that gets the name by being written.
    pub(crate) fn entry_file_or_new<'s>(
        &'s self,
        name: &'s EntryPath,
    ) -> Result<EntryFile<'s>, StepError> {
        let recycler = &self.directory.recycler;
        if !recycler.is_empty() {
            if let Some(entry) = self.entry_file(name)? {
                return Ok(entry);
            }
            if let Some(spare) = recycler.take() {
                return EntryFile::of_spare_file(self, name, spare);
            }
        }
        let fd = self.folder.open(name, OFlags::RDWR | OFlags::CREATE)?;
        // A folder in which nothing can be made is not there any more.
        EntryFile::new(self, name, fd.ok_or(StepError::Deleted)?)
    }

    /// Gives up a file of this length, which may serve another entry.
    pub(crate) fn retire(&self, name: &EntryPath, len: u64) -> Result<(), StepError> {
        if self.directory.recycler.keep(self.directory, &self.folder.fd, name.file(), len) {
            self.count(len, None);
            return Ok(());
        }
        self.unlink(name, len)
    }

    /// Gives a spare file the name of the entry in it.
    pub(crate) fn place(&self, spare: u64, name: &EntryPath) -> Result<(), Errno> {
        self.directory.recycler.place(spare, &self.folder.fd, name.file())
    }

    pub(crate) fn discard(&self, spare: u64) {
        self.directory.recycler.discard(spare);
    }

    /// Gives their room back; whether there were any.
    pub(crate) fn free_spare_files(&self) -> bool {
        self.directory.recycler.free_all()
    }

    /// Deletes a file of this length.
    pub(crate) fn unlink(&self, name: &EntryPath, len: u64) -> Result<(), StepError> {
        match unlinkat(&self.folder.fd, name.file(), AtFlags::empty()) {
            Ok(()) => {
                self.count(len, None);
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(error::of(errno, name).into()),
        }
    }

    /// A file of one length has another now. An empty one, which nobody counts, is none.
    pub(crate) fn count(&self, old: u64, new: Option<u64>) {
        let part = |len: u64| Change {
            entries: i64::from(len > 0),
            bytes: i64::try_from(room(len)).unwrap_or(i64::MAX),
        };
        let (old, new, sum) = (part(old), part(new.unwrap_or(0)), self.change.get());
        self.change.set(Change {
            entries: sum.entries + new.entries - old.entries,
            bytes: sum.bytes.saturating_add(new.bytes).saturating_sub(old.bytes),
        });
    }

    /// How much more there is here than before, in blocks.
    pub(crate) fn growth(&self) -> u64 {
        u64::try_from(self.change.get().bytes).unwrap_or(0) / BLOCK
    }
}

impl Drop for FolderLock<'_> {
    fn drop(&mut self) {
        let folder = self.folder;
        self.directory.counters.change(folder.number, self.change.get(), || folder.measure().ok());
        // The other processes' turn; the threads' comes when the mutex is dropped.
        let _ = flock(&self.folder.fd, FlockOperation::Unlock);
    }
}
