//! Reads that answer from the system's memory, or say that they would block.
//!
//! On Linux, `openat2` with `RESOLVE_CACHED` opens a file only if its name is in memory, and
//! `preadv2` with `RWF_NOWAIT` reads only what is in the page cache. Only with glibc: the musl of
//! Rust before 1.93 has no `preadv2`, so programs would not link.

use std::{os::fd::OwnedFd, sync::OnceLock};

use bytes::Bytes;
use cache_core::store::WouldBlock;
use rustix::io::Errno;

use crate::{
    entry_path::EntryPath,
    folder::Folder,
    probe::{Found, PAGE, Part, Probe, Start, is_in_file, probe_start},
};

/// Reads from memory, where the kernel and the file system support them.
#[derive(Debug, Default)]
pub(crate) struct Nowait {
    /// Unknown until the first entry was read on a thread.
    is_supported: OnceLock<bool>,
}

impl Nowait {
    /// Finds out whether reads from memory work, by an entry that was just read, so it is in
    /// memory.
    ///
    /// Call this where waiting is allowed: a file system without these reads may wait in `open`.
    pub(crate) fn learn(&self, folder: &Folder, path: &EntryPath) {
        if self.is_supported.get().is_some() {
            return;
        }
        let is_supported = match open(folder, path).and_then(|it| read_at(&it, &mut [0], 0)) {
            Ok(_) => true,
            // An old kernel, a sandbox, or a file system such as tmpfs or overlayfs.
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) => false,
            // The entry was deleted or left the memory; the next read tries it again.
            Err(_) => return,
        };
        let _ = self.is_supported.set(is_supported);
    }

    /// Reads the entry of a key, live or expired, if everything for that is in memory.
    ///
    /// The read takes no lock, changes nothing, and is not repeated if a writer interferes. A value
    /// of more than `max_len` bytes is not read.
    pub(crate) fn read(
        &self,
        folder: &Folder,
        path: &EntryPath,
        key: &str,
        part: Part,
        max_len: usize,
    ) -> Result<Option<Found>, WouldBlock> {
        if !self.is_supported() {
            return Err(WouldBlock);
        }
        let probe = match open(folder, path) {
            Ok(fd) => probe(&fd, key, part, max_len),
            Err(Errno::NOENT) if !folder.is_deleted() => return Ok(None),
            Err(errno) => Err(errno),
        };
        match probe {
            Ok(Probe::Found(it)) if it.value.len() <= max_len => Ok(Some(it)),
            Ok(Probe::Absent | Probe::OtherKey) => Ok(None),
            _ => Err(WouldBlock),
        }
    }

    fn is_supported(&self) -> bool {
        self.is_supported.get().is_some_and(|it| *it)
    }
}

/// Reads an open file like [`probe`](crate::probe::probe).
fn probe(fd: &OwnedFd, key: &str, part: Part, max_len: usize) -> Result<Probe, Errno> {
    let mut page = [0; PAGE];
    let len = read_at(fd, &mut page, 0)?;
    let header = match probe_start(&page[..len], Some(key), part) {
        Start::Whole(probe) => return Ok(probe),
        Start::Longer(header) => header,
    };
    if part == Part::Head {
        let is_whole = is_in_file(&header, fd)?;
        let found = Probe::Found(Found { header, value: Bytes::new() });
        return Ok(if is_whole { found } else { Probe::Damaged });
    }
    let len = usize::try_from(header.value_len).ok().filter(|it| *it <= max_len);
    let mut value = vec![0; len.ok_or(Errno::AGAIN)?];
    let start = &page[header.value_offset()..];
    value[..start.len()].copy_from_slice(start);
    let mut read = start.len();
    while read < value.len() {
        match read_at(fd, &mut value[read..], (header.value_offset() + read) as u64)? {
            0 => return Ok(Probe::Damaged),
            len => read += len,
        }
    }
    let is_whole = header.matches(&value);
    let found = Probe::Found(Found { header, value: value.into() });
    Ok(if is_whole { found } else { Probe::Damaged })
}

/// Opens a file if its name is in memory; otherwise `AGAIN`. `NOATIME`, because a new access time
/// may have to wait for the file system's journal.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn open(folder: &Folder, path: &EntryPath) -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

    let flags = OFlags::RDONLY | OFlags::NOATIME | crate::root::SAFE;
    openat2(&folder.fd, path.file(), flags, Mode::empty(), ResolveFlags::CACHED)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn open(_: &Folder, _: &EntryPath) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Reads bytes of the file that are in memory; `AGAIN` if the first is not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn read_at(fd: &OwnedFd, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    preadv2(fd, &mut [IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn read_at(_: &OwnedFd, _: &mut [u8], _: u64) -> Result<usize, Errno> {
    Err(Errno::NOSYS)
}

#[cfg(test)]
mod tests;
