//! How much is in the store, in a file that all processes share.

use std::{os::fd::OwnedFd, sync::OnceLock};

use cache_core::Result;
use rustix::{
    fs::{Mode, OFlags, fchmod, fstat, openat},
    io::{Errno, pread, pwrite},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    directory::{Directory, SAFELY, mode},
    error,
};

/// How many entries each folder has and how many bytes they take, in a file of 4 KiB. A folder's numbers are written by
/// who holds its lock, so they drift only by what a kill cuts off; the sweeper counts again now and then. A checksum in each slot tells
/// what is no count at all: it counts nothing until the folder is measured.
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

/// The file's name. Releases before this one have other numbers in `counters`, and would evict for these.
pub(crate) const FILE: &str = "counts";
const FOLDERS: usize = 256;
/// A folder's: entries in 4 bytes, their checksum in 4, and bytes in 8. One of zeros counts nothing.
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

    /// Of a folder whose lock the caller holds, and which the caller measures if its slot holds no count. That it cannot be written must not
    /// fail what was done.
    pub(crate) fn change(
        &self,
        folder: u8,
        change: Change,
        measure: impl FnOnce() -> Option<Count>,
    ) {
        if change != Change::default() {
            let Some(old) = self.read(folder) else {
                return measure().into_iter().for_each(|it| self.put(folder, it));
            };
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
        match pwrite(fd, &count.encode(folder), at(folder)) {
            Ok(SLOT) => Ok(()),
            Ok(_) => Err(error::of(Errno::NOSPC, FILE)),
            Err(errno) => Err(error::of(errno, FILE)),
        }
    }

    /// `None` if the slot holds no count.
    pub(crate) fn read(&self, folder: u8) -> Option<Count> {
        let mut slot = [0; SLOT];
        // A part that is not there yet is zeros.
        let _ = self.0.get().map(|fd| pread(fd, &mut slot[..], at(folder)));
        Count::decode(folder, &slot)
    }

    /// Of each folder; what is no count is nothing, as nothing may be evicted for it.
    pub(crate) fn all(&self) -> Vec<Count> {
        let mut slots = [0; FOLDERS * SLOT];
        let _ = self.0.get().map(|fd| pread(fd, &mut slots[..], 0));
        let decode = |(folder, slot): (u8, &[u8])| Count::decode(folder, slot).unwrap_or_default();
        (0..=u8::MAX).zip(slots.chunks_exact(SLOT)).map(decode).collect()
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
    /// As it is in the slot of a folder.
    fn encode(self, folder: u8) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        if self != Self::default() {
            let entries = u32::try_from(self.entries).unwrap_or(u32::MAX);
            slot[..4].copy_from_slice(&entries.to_le_bytes());
            slot[8..].copy_from_slice(&self.bytes.to_le_bytes());
            let sum = sum(folder, &slot);
            slot[4..8].copy_from_slice(&sum);
        }
        slot
    }

    fn decode(folder: u8, slot: &[u8]) -> Option<Self> {
        let slot: &[u8; SLOT] = slot.try_into().ok()?;
        if *slot == [0; SLOT] {
            return Some(Self::default());
        }
        let (entries, bytes) = (slot[..4].try_into().ok()?, slot[8..].try_into().ok()?);
        let count =
            Self { entries: u32::from_le_bytes(entries).into(), bytes: u64::from_le_bytes(bytes) };
        (slot[4..8] == sum(folder, slot)).then_some(count)
    }
}

/// The checksum of a folder's slot.
fn sum(folder: u8, slot: &[u8; SLOT]) -> [u8; 4] {
    let counted = [&slot[..4], &slot[8..]].concat();
    let [a, b, c, d, ..] = xxh3_64_with_seed(&counted, u64::from(folder)).to_le_bytes();
    [a, b, c, d]
}

/// The room that a file of this length takes.
pub(crate) fn room(len: u64) -> u64 {
    len.div_ceil(BLOCK).saturating_mul(BLOCK)
}

fn at(folder: u8) -> u64 {
    u64::from(folder) * SLOT as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_back_for_its_folder_and_no_other() {
        let count = Count { entries: 7, bytes: 7 * BLOCK };
        let slot = count.encode(3);
        assert_eq!(Count::decode(3, &slot), Some(count));
        assert_eq!(Count::decode(4, &slot), None);
        assert_eq!(Count::decode(3, &[0; SLOT]), Some(Count::default()));
        assert_eq!(Count::default().encode(3), [0; SLOT]);
    }

    #[test]
    fn a_slot_with_any_bit_turned_holds_no_count() {
        let slot = Count { entries: 7, bytes: 7 * BLOCK }.encode(3);
        for bit in 0..SLOT * 8 {
            let mut wrong = slot;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Count::decode(3, &wrong), None, "{bit}");
        }
        assert_eq!(Count::decode(3, &[0xff; SLOT]), None);
        // As releases before this one wrote it: two numbers of 8 bytes.
        let old = [7_u64.to_le_bytes(), (7 * BLOCK).to_le_bytes()].concat();
        assert_eq!(Count::decode(3, &old), None);
    }
}
