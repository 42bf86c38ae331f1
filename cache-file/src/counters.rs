//! The file `counts`: how many entries the store has and how much disk space they use.

use std::{os::fd::OwnedFd, sync::OnceLock};

use cache_core::Result;
use rustix::{
    fs::{Mode, OFlags, fchmod, fstat, openat},
    io::{Errno, pread, pwrite},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    error,
    root::{Root, SAFE, mode},
};

/// The counts of all folders, in a file of 4 KiB that all processes share.
///
/// Only the holder of a folder's lock writes its count, so a count is wrong only after a kill
/// between a change and its count, or after files were changed by hand. The sweeper corrects it. A
/// checksum in each slot tells whether it holds a count at all; if not, the folder is measured
/// before its count is used.
#[derive(Debug, Default)]
pub(crate) struct Counters(OnceLock<OwnedFd>);

/// A number of entries, and the disk space of their files in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// A difference of two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) entries: i64,
    pub(crate) bytes: i64,
}

/// The file's name. Earlier releases wrote other numbers to `counters`, which must not be read as
/// counts.
pub(crate) const FILE: &str = "counts";
const FOLDERS: usize = 256;
/// Bytes per folder: its entries (4), a checksum (4) and its bytes (8). Zeros are a count of 0.
const SLOT: usize = 16;
/// The unit in which file systems allocate.
pub(crate) const BLOCK: u64 = 4096;

impl Counters {
    /// Opens the file, and creates it if it does not exist. An empty file holds counts of 0.
    pub(crate) fn open(&self, root: &Root) -> Result<&OwnedFd> {
        if let Some(fd) = self.0.get() {
            return Ok(fd);
        }
        // This is the first file that the store creates.
        root.make_private().map_err(|it| error::of(it, "."))?;
        let private = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CREATE | SAFE;
        let open = || -> Result<OwnedFd, Errno> {
            let fd = openat(root.fd(), FILE, flags, private)?;
            if mode(&fstat(&fd)?) != private {
                fchmod(&fd, private)?;
            }
            Ok(fd)
        };
        let fd = open().map_err(|it| error::of(it, FILE))?;
        Ok(self.0.get_or_init(|| fd))
    }

    /// Applies a change to the count of a folder whose lock the caller holds. If the slot holds no
    /// count, it takes the result of `measure`.
    ///
    /// An error is ignored: the change of the entry itself has succeeded.
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
            // A folder without entries uses no bytes, even if the count of bytes was wrong.
            self.put(folder, if new.entries == 0 { Count::default() } else { new });
        }
    }

    /// Writes the count of a folder. An error is ignored, as the sweeper corrects the count later.
    pub(crate) fn put(&self, folder: u8, count: Count) {
        let _ = self.try_put(folder, count);
    }

    /// Writes the count of a folder.
    pub(crate) fn try_put(&self, folder: u8, count: Count) -> Result<()> {
        let Some(fd) = self.0.get() else { return Ok(()) };
        match pwrite(fd, &count.encode(folder), offset(folder)) {
            Ok(SLOT) => Ok(()),
            Ok(_) => Err(error::of(Errno::NOSPC, FILE)),
            Err(errno) => Err(error::of(errno, FILE)),
        }
    }

    /// Reads the count of a folder. `None` if the slot holds no count.
    pub(crate) fn read(&self, folder: u8) -> Option<Count> {
        let mut slot = [0; SLOT];
        // Behind the end of the file, the slot stays zero.
        let _ = self.0.get().map(|fd| pread(fd, &mut slot[..], offset(folder)));
        Count::decode(folder, &slot)
    }

    /// Returns the sum of all folders. A slot that holds no count adds nothing, so that it evicts
    /// nothing.
    pub(crate) fn total(&self) -> Count {
        let mut slots = [0; FOLDERS * SLOT];
        let _ = self.0.get().map(|fd| pread(fd, &mut slots[..], 0));
        let decode = |(folder, slot): (u8, &[u8])| Count::decode(folder, slot);
        let counts = (0..=u8::MAX).zip(slots.chunks_exact(SLOT)).filter_map(decode);
        counts.fold(Count::default(), |sum, it| Count {
            entries: sum.entries.saturating_add(it.entries),
            bytes: sum.bytes.saturating_add(it.bytes),
        })
    }

    /// Returns whether the open file was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.0.get().is_some_and(|fd| fstat(fd).is_ok_and(|it| it.st_nlink == 0))
    }
}

impl Count {
    /// Encodes the slot of a folder.
    fn encode(self, folder: u8) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        if self != Self::default() {
            let entries = u32::try_from(self.entries).unwrap_or(u32::MAX);
            slot[..4].copy_from_slice(&entries.to_le_bytes());
            slot[8..].copy_from_slice(&self.bytes.to_le_bytes());
            let checksum = checksum(folder, &slot);
            slot[4..8].copy_from_slice(&checksum);
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
        (slot[4..8] == checksum(folder, slot)).then_some(count)
    }
}

fn checksum(folder: u8, slot: &[u8; SLOT]) -> [u8; 4] {
    let counted = [&slot[..4], &slot[8..]].concat();
    let [a, b, c, d, ..] = xxh3_64_with_seed(&counted, u64::from(folder)).to_le_bytes();
    [a, b, c, d]
}

/// Returns the disk space of a file with this length.
pub(crate) fn disk_size(len: u64) -> u64 {
    len.div_ceil(BLOCK).saturating_mul(BLOCK)
}

fn offset(folder: u8) -> u64 {
    u64::from(folder) * SLOT as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_read_back_for_its_own_folder_only() {
        let count = Count { entries: 7, bytes: 7 * BLOCK };
        let slot = count.encode(3);
        assert_eq!(Count::decode(3, &slot), Some(count));
        assert_eq!(Count::decode(4, &slot), None);
        assert_eq!(Count::decode(3, &[0; SLOT]), Some(Count::default()));
        assert_eq!(Count::default().encode(3), [0; SLOT]);
    }

    #[test]
    fn slot_with_a_flipped_bit_holds_no_count() {
        let slot = Count { entries: 7, bytes: 7 * BLOCK }.encode(3);
        for bit in 0..SLOT * 8 {
            let mut wrong = slot;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Count::decode(3, &wrong), None, "{bit}");
        }
        assert_eq!(Count::decode(3, &[0xff; SLOT]), None);
        // The layout of earlier releases: two numbers of 8 bytes.
        let old = [7_u64.to_le_bytes(), (7 * BLOCK).to_le_bytes()].concat();
        assert_eq!(Count::decode(3, &old), None);
    }
}
