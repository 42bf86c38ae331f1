//! The file of an entry, as its only writer uses it.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::{
    fs::{FileType, Mode, OFlags, fchmod, fstat, ftruncate},
    io::{Errno, pread, pwrite},
};

use crate::{
    counters::disk_size,
    entry_path::EntryPath,
    error::{self, StepError},
    folder_lock::FolderLock,
    header::{self, Header, MAX_KEY, checksum},
    probe::{Found, PAGE, Part, Probe, probe},
    recycler::SpareFile,
    root::mode,
};

/// An open file of an entry, under the lock of its folder.
///
/// An entry is overwritten in place. This changes neither names nor blocks, which is what makes
/// other ways slow.
#[derive(Debug)]
pub(crate) struct EntryFile<'a> {
    lock: &'a FolderLock<'a>,
    path: &'a EntryPath,
    fd: OwnedFd,
    len: u64,
    /// The file has no second name under which another program keeps its content.
    has_one_name: bool,
    /// The file is a spare one with the content of another entry, until it is written.
    spare: Option<SpareFile<'a>>,
}

/// An entry to write.
#[derive(Debug)]
pub(crate) struct NewEntry<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a Bytes,
    pub(crate) expires: u64,
    pub(crate) stamp: u64,
}

impl<'a> EntryFile<'a> {
    /// Opens the file of an entry. `None` if it does not exist.
    pub(crate) fn open(
        lock: &'a FolderLock<'a>,
        path: &'a EntryPath,
    ) -> Result<Option<Self>, StepError> {
        let fd = lock.folder.open(path, OFlags::RDWR)?;
        fd.map(|fd| Self::new(lock, path, fd)).transpose()
    }

    /// Opens the file of an entry. If it does not exist, takes a spare file, which gets its name
    /// when it is written, or creates a file.
    pub(crate) fn open_or_create(
        lock: &'a FolderLock<'a>,
        path: &'a EntryPath,
    ) -> Result<Self, StepError> {
        if !lock.recycler.is_empty() {
            if let Some(file) = Self::open(lock, path)? {
                return Ok(file);
            }
            if let Some((fd, spare)) = lock.recycler.take() {
                return Ok(Self { spare: Some(spare), ..Self::new(lock, path, fd)? });
            }
        }
        let fd = lock.folder.open(path, OFlags::RDWR | OFlags::CREATE)?;
        // Creating a file fails with "not found" only if the folder was deleted.
        Self::new(lock, path, fd.ok_or(StepError::Deleted)?)
    }

    fn new(lock: &'a FolderLock<'a>, path: &'a EntryPath, fd: OwnedFd) -> Result<Self, StepError> {
        let failed = |errno| StepError::Other(error::of(errno, path));
        let stat = fstat(&fd).map_err(failed)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(failed(Errno::ISDIR));
        }
        let private = Mode::RUSR | Mode::WUSR;
        if mode(&stat) != private {
            // The umask may have removed permissions.
            fchmod(&fd, private).map_err(failed)?;
        }
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Self { lock, path, fd, len, has_one_name: stat.st_nlink == 1, spare: None })
    }

    /// Reads the entry of a key, or of any key.
    pub(crate) fn probe(&self, key: Option<&str>, part: Part) -> Result<Probe, StepError> {
        if self.spare.is_some() {
            return Ok(Probe::Absent);
        }
        probe(&self.fd, key, part).map_err(|it| error::of(it, self.path).into())
    }

    /// Reads the live entry of a key. `None` for everything else, which a writer may overwrite.
    pub(crate) fn live(&self, key: &str, part: Part, now: u64) -> Result<Option<Found>, StepError> {
        match self.probe(Some(key), part)? {
            Probe::Found(it) if it.header.is_live(now) => Ok(Some(it)),
            _ => Ok(None),
        }
    }

    /// Reads the key in the header, of a complete or incomplete entry. `None` if it has none.
    pub(crate) fn key(&self) -> Result<Option<String>, StepError> {
        let mut start = [0; header::LEN + MAX_KEY];
        let len = pread(&self.fd, &mut start[..], 0).map_err(|it| error::of(it, self.path))?;
        let key = Header::decode(&start[..len]).ok().map(|(_, key)| key.to_vec());
        Ok(key.and_then(|it| String::from_utf8(it).ok()))
    }

    /// Overwrites the file with an entry.
    ///
    /// An entry that fits one page is one write, which a kill does not divide. A larger one begins
    /// with a header that says "incomplete" and ends with one that says "complete", so a reader
    /// recognizes what a kill leaves behind. A spare file gets its name last.
    pub(crate) fn write(&mut self, new: &NewEntry<'_>) -> Result<(), StepError> {
        let key = new.key.as_bytes();
        let key_len = u16::try_from(key.len()).ok().filter(|it| usize::from(*it) <= MAX_KEY);
        let header = Header {
            is_complete: true,
            key_len: key_len.ok_or_else(|| error::key_too_long(key.len(), MAX_KEY))?,
            value_len: new.value.len() as u64,
            expires: new.expires,
            stamp: new.stamp,
            value_checksum: checksum(new.value),
        };
        let len = (header.value_offset() + new.value.len()) as u64;
        let written = match self.write_entry(&header, key, new.value) {
            // The spare files may use the space.
            Err(Errno::NOSPC | Errno::DQUOT) if self.lock.recycler.free_all() => {
                self.write_entry(&header, key, new.value)
            }
            written => written,
        };
        if let Err(errno) = written.and_then(|()| self.publish()) {
            self.clean_up(len);
            // Another process has swept the spare file, or the folder was deleted. No reader has
            // seen the entry, so it can be written again.
            if self.spare.is_some() && errno == Errno::NOENT {
                return Err(StepError::Deleted);
            }
            return Err(error::of(errno, self.path).into());
        }
        let old = self.len;
        // A spare file was not counted.
        let counted = if self.spare.take().is_some() { 0 } else { old };
        // Free whole blocks only: the next write overwrites a shorter rest.
        let is_cut = disk_size(len) < disk_size(old) && ftruncate(&self.fd, len).is_ok();
        self.len = if is_cut { len } else { len.max(old) };
        self.lock.count(counted, self.len);
        Ok(())
    }

    /// Writes a new header, with another expiry, in front of the same key and value.
    pub(crate) fn touch(&mut self, key: &str, header: &Header) -> Result<(), StepError> {
        let start = header.encode(key.as_bytes());
        self.write_at(&start, 0).map_err(|it| error::of(it, self.path).into())
    }

    /// Deletes the file.
    pub(crate) fn remove(self) -> Result<(), StepError> {
        // Dropping a spare file deletes it.
        if self.spare.is_some() { Ok(()) } else { self.lock.delete(self.path, self.len) }
    }

    /// Removes the entry. The file may become a spare file.
    pub(crate) fn recycle(self) -> Result<(), StepError> {
        if self.has_one_name && self.spare.is_none() {
            self.lock.recycle(self.path, self.len)
        } else {
            self.remove()
        }
    }

    /// Handles a failed write of this length. The old entry stays if it is intact: a small write
    /// changed nothing, or was cut off. Otherwise deletes the file.
    fn clean_up(&self, len: u64) {
        if self.spare.is_some() {
            return;
        }
        let found = || self.probe(None, Part::Value);
        let is_intact = len <= PAGE as u64 && matches!(found(), Ok(Probe::Found(_) | Probe::Newer));
        if !is_intact {
            // If this fails too, the header says that the entry is incomplete.
            let _ = self.lock.delete(self.path, self.len);
        }
    }

    fn publish(&mut self) -> Result<(), Errno> {
        let (folder, name) = (&self.lock.folder.fd, self.path.file());
        self.spare.as_mut().map_or(Ok(()), |it| it.publish(folder, name))
    }

    fn write_entry(&self, header: &Header, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        let mut start = header.encode(key);
        if start.len() + value.len() <= PAGE {
            start.extend_from_slice(value);
            return self.write_at(&start, 0);
        }
        self.write_at(&Header { is_complete: false, ..*header }.encode(key), 0)?;
        self.write_at(value, start.len() as u64)?;
        self.write_at(&start, 0)
    }

    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match pwrite(&self.fd, bytes, offset) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(len) => {
                    bytes = &bytes[len..];
                    offset += len as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
