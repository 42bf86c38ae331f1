//! How much is in the store, in a file that all processes share.

use std::{os::fd::OwnedFd, sync::OnceLock};

use cache_core::Result;
use rustix::{
    fs::{Mode, OFlags, fchmod, fstat, openat},
    io::{Errno, pread, pwrite},
};

use crate::{
    directory::{Directory, SAFELY, mode},
    error,
};

/// How many entries each folder has and how many bytes they take, in a file of 4 KiB. A folder's numbers are written by
/// who holds its lock, so they drift only by what a kill cuts off; the sweeper counts again now and then.
#[derive(Debug, Default)]
pub(crate) struct Counters(OnceLock<OwnedFd>);

/// Entries, and the bytes that their files take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// What a writer added or took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) entries: i64,
    pub(crate) bytes: i64,
}

/// By which the file is found.
pub(crate) const FILE: &str = "counters";
const FOLDERS: usize = 256;
/// Two numbers for a folder.
const SLOT: usize = 16;
/// What file systems give out.
pub(crate) const BLOCK: u64 = 4096;

impl Counters {
    /// Opens the file, and makes it if it is not there. An empty one counts nothing.
    pub(crate) fn open(&self, directory: &Directory) -> Result<&OwnedFd> {
        if let Some(fd) = self.0.get() {
            return Ok(fd);
        }
        // It is the first file of all.
        directory.make_private().map_err(|it| error::of(it, "."))?;
        let private = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CREATE | SAFELY;
        let open = || -> Result<OwnedFd, Errno> {
            let fd = openat(directory.fd(), FILE, flags, private)?;
            if mode(&fstat(&fd)?) != private {
                fchmod(&fd, private)?;
            }
            Ok(fd)
        };
        let fd = open().map_err(|it| error::of(it, FILE))?;
        Ok(self.0.get_or_init(|| fd))
    }

    /// Of a folder whose lock the caller holds. That it cannot be written must not fail what was done.
    pub(crate) fn change(&self, folder: u8, change: Change) {
        if change != Change::default() {
            let old = self.read(folder);
            let new = Count {
                entries: old.entries.saturating_add_signed(change.entries),
                bytes: old.bytes.saturating_add_signed(change.bytes),
            };
            // An empty folder is where what has drifted is known.
            self.put(folder, if new.entries == 0 { Count::default() } else { new });
        }
    }

    /// As [`change`](Self::change), with what was counted.
    pub(crate) fn put(&self, folder: u8, count: Count) {
        // Approximate is what they are anyway.
        let _ = self.try_put(folder, count);
    }

    /// As [`put`](Self::put), for who wants to know whether it can be done.
    pub(crate) fn try_put(&self, folder: u8, count: Count) -> Result<()> {
        let Some(fd) = self.0.get() else { return Ok(()) };
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(&count.entries.to_le_bytes());
        slot[8..].copy_from_slice(&count.bytes.to_le_bytes());
        match pwrite(fd, &slot, at(folder)) {
            Ok(SLOT) => Ok(()),
            Ok(_) => Err(error::of(Errno::NOSPC, FILE)),
            Err(errno) => Err(error::of(errno, FILE)),
        }
    }

    pub(crate) fn read(&self, folder: u8) -> Count {
        let mut slot = [0; SLOT];
        // A part that is not there yet is zeros.
        let _ = self.0.get().map(|fd| pread(fd, &mut slot[..], at(folder)));
        Count::decode(&slot)
    }

    /// Of each folder.
    pub(crate) fn all(&self) -> Vec<Count> {
        let mut slots = [0; FOLDERS * SLOT];
        let _ = self.0.get().map(|fd| pread(fd, &mut slots[..], 0));
        slots.chunks_exact(SLOT).map(Count::decode).collect()
    }

    /// Of the store.
    pub(crate) fn total(&self) -> Count {
        let sum = |one: Count, other: Count| Count {
            entries: one.entries.saturating_add(other.entries),
            bytes: one.bytes.saturating_add(other.bytes),
        };
        self.all().into_iter().fold(Count::default(), sum)
    }

    /// Whether somebody deleted the file.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.get().is_some_and(|fd| fstat(fd).is_ok_and(|it| it.st_nlink == 0))
    }
}

impl Count {
    fn decode(slot: &[u8]) -> Self {
        let number = |at: usize| {
            let bytes = slot.get(at..at + 8).and_then(|it| it.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        Self { entries: number(0), bytes: number(8) }
    }
}

/// The room that a file of this length takes.
pub(crate) fn room(len: u64) -> u64 {
    len.div_ceil(BLOCK).saturating_mul(BLOCK)
}

fn at(folder: u8) -> u64 {
    u64::from(folder) * SLOT as u64
}
