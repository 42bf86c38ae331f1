//! The lock of a folder, and what its holder does besides writing entries: counting and deleting.

use std::{
    cell::Cell,
    sync::{MutexGuard, TryLockError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, FlockOperation, flock, unlinkat},
    io::Errno,
};

use crate::{
    counters::{BLOCK, Change, Counters, disk_size},
    entry_path::EntryPath,
    error::{self, StepError},
    folder::Folder,
    recycler::Recycler,
};

/// The exclusive lock of a folder. Its holder is the only writer there, of all processes.
///
/// It is an advisory lock (`flock`) on the folder itself, which no process replaces.
#[derive(Debug)]
pub(crate) struct FolderLock<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) recycler: &'a Recycler,
    counters: &'a Counters,
    change: Cell<Change>,
    _thread: MutexGuard<'a, ()>,
}

/// A holder needs microseconds, unless it waits for the disk.
const SPINS: u32 = 20;
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
/// How long to wait in a folder where another writer has timed out: enough for a slow holder, and
/// so short that waiting calls do not use up the threads.
const WAIT_IF_STUCK: Duration = Duration::from_millis(5);

impl<'a> FolderLock<'a> {
    /// Waits for the lock until `until`, or shorter in a folder where another writer has timed out.
    pub(crate) fn acquire(
        folder: &'a Folder,
        counters: &'a Counters,
        recycler: &'a Recycler,
        until: Instant,
    ) -> Result<Self, StepError> {
        let acquire = || Self::try_acquire(folder, counters, recycler);
        for _ in 0..SPINS {
            if let Some(lock) = acquire()? {
                return Ok(lock);
            }
            thread::yield_now();
        }
        let was_stuck = folder.is_stuck.load(Ordering::Relaxed);
        let until = if was_stuck { until.min(Instant::now() + WAIT_IF_STUCK) } else { until };
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lock) = acquire()? {
                return Ok(lock);
            }
            let remaining = until.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                break;
            }
            thread::sleep(pause.min(remaining));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        folder.is_stuck.store(true, Ordering::Relaxed);
        Err(error::locked(folder.name()).into())
    }

    /// Takes the lock. `None` if another thread or process holds it.
    pub(crate) fn try_acquire(
        folder: &'a Folder,
        counters: &'a Counters,
        recycler: &'a Recycler,
    ) -> Result<Option<Self>, StepError> {
        let thread = match folder.threads.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        match flock(&folder.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(error::of(errno, folder.name()).into()),
        }
        folder.is_stuck.store(false, Ordering::Relaxed);
        Ok(Some(Self { folder, recycler, counters, change: Cell::default(), _thread: thread }))
    }

    /// Removes an entry whose file has this length. The file may become a spare file.
    pub(crate) fn recycle(&self, path: &EntryPath, len: u64) -> Result<(), StepError> {
        if self.recycler.keep(&self.folder.fd, path.file(), len) {
            self.count(len, 0);
            return Ok(());
        }
        self.delete(path, len)
    }

    /// Deletes a file of this length.
    pub(crate) fn delete(&self, path: &EntryPath, len: u64) -> Result<(), StepError> {
        match unlinkat(&self.folder.fd, path.file(), AtFlags::empty()) {
            Ok(()) => {
                self.count(len, 0);
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(error::of(errno, path).into()),
        }
    }

    /// Counts a file whose length changes. An empty file is not an entry.
    pub(crate) fn count(&self, old_len: u64, new_len: u64) {
        let bytes = |len: u64| i64::try_from(disk_size(len)).unwrap_or(i64::MAX);
        let sum = self.change.get();
        self.change.set(Change {
            entries: sum.entries + i64::from(new_len > 0) - i64::from(old_len > 0),
            bytes: sum.bytes.saturating_add(bytes(new_len)).saturating_sub(bytes(old_len)),
        });
    }

    /// Returns how many blocks the folder uses more than before the lock was taken.
    pub(crate) fn growth(&self) -> u64 {
        u64::try_from(self.change.get().bytes).unwrap_or(0) / BLOCK
    }
}

impl Drop for FolderLock<'_> {
    fn drop(&mut self) {
        let folder = self.folder;
        self.counters.change(folder.number, self.change.get(), || folder.measure().ok());
        // Other processes first; the mutex for this process's threads is dropped after this.
        let _ = flock(&folder.fd, FlockOperation::Unlock);
    }
}
