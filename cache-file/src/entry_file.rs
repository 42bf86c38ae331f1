//! A file in the hands of its only writer.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::{
    fs::{FileType, Mode, fchmod, fstat, ftruncate},
    io::{Errno, pread, pwrite},
};

use crate::{
    counters::room,
    directory::mode,
    entry_path::EntryPath,
    error::{self, StepError},
    folder::FolderLock,
    header::{Header, LEN, MAX_KEY, value_sum},
    probe::{Found, PAGE, Part, Probe, probe},
    recycler::SpareFile,
};

/// A file in the hands of its only writer, who overwrites it in place: neither a name nor a block changes, which is what
/// makes other ways slow.
#[derive(Debug)]
pub(crate) struct EntryFile<'a> {
    locked: &'a FolderLock<'a>,
    name: &'a EntryPath,
    fd: OwnedFd,
    /// The file's length.
    len: u64,
    /// It has no other name, by which somebody keeps what is in it.
    is_alone: bool,
    /// The number of a file that has no name yet. What it holds was another entry.
    spare: Option<u64>,
}

/// What is written.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a Bytes,
    pub(crate) expires: u64,
    pub(crate) stamp: u64,
}

impl<'a> EntryFile<'a> {
    pub(crate) fn new(
        locked: &'a FolderLock<'a>,
        name: &'a EntryPath,
        fd: OwnedFd,
    ) -> Result<Self, StepError> {
        let told = |errno| StepError::Other(error::of(errno, name));
        let stat = fstat(&fd).map_err(told)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(told(Errno::ISDIR));
        }
        let private = Mode::RUSR | Mode::WUSR;
        if mode(&stat) != private {
            // Whatever the umask.
            fchmod(&fd, private).map_err(told)?;
        }
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Self { locked, name, fd, len, is_alone: stat.st_nlink == 1, spare: None })
    }

    pub(crate) fn of_spare_file(
        locked: &'a FolderLock<'a>,
        name: &'a EntryPath,
        spare: SpareFile,
    ) -> Result<Self, StepError> {
        let number = spare.number;
        let entry = Self::new(locked, name, spare.fd).inspect_err(|_| locked.discard(number))?;
        Ok(Self { spare: Some(number), ..entry })
    }

    pub(crate) fn probe(&self, key: Option<&str>, part: Part) -> Result<Probe, StepError> {
        if self.spare.is_some() {
            return Ok(Probe::Absent);
        }
        probe(&self.fd, key, part).map_err(|it| error::of(it, self.name).into())
    }

    /// The live entry of the key. Whatever else is there counts as nothing for a writer.
    pub(crate) fn live(&self, key: &str, part: Part, now: u64) -> Result<Option<Found>, StepError> {
        match self.probe(Some(key), part)? {
            Probe::Found(it) if it.header.is_live(now) => Ok(Some(it)),
            _ => Ok(None),
        }
    }

    /// The key that the header names, of an entry that is finished or not; `None` if it names none.
    pub(crate) fn key(&self) -> Result<Option<String>, StepError> {
        let mut start = [0; LEN + MAX_KEY];
        let len = pread(&self.fd, &mut start[..], 0).map_err(|it| error::of(it, self.name))?;
        let key = Header::decode(&start[..len]).ok().map(|(_, key)| key.to_vec());
        Ok(key.and_then(|it| String::from_utf8(it).ok()))
    }

    /// Overwrites whatever is there.
    ///
    /// What fits a page is one write, which a kill does not divide. A larger one begins with a header that says that it is
    /// not finished, and ends with one that says that it is: what a kill leaves behind is known for what it is. A spare file gets its
    /// name last.
    pub(crate) fn write(&mut self, new: &New<'_>) -> Result<(), StepError> {
        let key = new.key.as_bytes();
        let key_len = u16::try_from(key.len()).ok().filter(|it| usize::from(*it) <= MAX_KEY);
        let header = Header {
            whole: true,
            key_len: key_len.ok_or_else(|| error::key_too_long(key.len()))?,
            value_len: new.value.len() as u64,
            expires: new.expires,
            stamp: new.stamp,
            value_sum: value_sum(new.value),
        };
        let len = (header.value_at() + new.value.len()) as u64;
        let written = match self.put_all(&header, key, new.value) {
            // What waits for other entries may have the room.
            Err(Errno::NOSPC | Errno::DQUOT) if self.locked.free_spare_files() => {
                self.put_all(&header, key, new.value)
            }
            res => res,
        };
        if let Err(errno) = written.and_then(|()| self.get_name()) {
            self.give_up(len);
            // Swept meanwhile, or the folder was deleted: nobody has seen it.
            let is_gone = self.spare.is_some() && errno == Errno::NOENT;
            return Err(if is_gone {
                StepError::Deleted
            } else {
                error::of(errno, self.name).into()
            });
        }
        let old = self.len;
        // Nobody counted it while it was spare.
        let counted = if self.spare.take().is_some() { 0 } else { old };
        // Whole blocks are given back; a shorter rest is what the next write overwrites.
        self.len = if room(len) < room(old) && ftruncate(&self.fd, len).is_ok() {
            len
        } else {
            len.max(old)
        };
        self.locked.count(counted, Some(self.len));
        Ok(())
    }

    /// Gives the entry another lifetime, without reading or writing its value.
    pub(crate) fn touch(&mut self, key: &str, header: &Header) -> Result<(), StepError> {
        let start = header.encode(key.as_bytes());
        self.put(&start, 0).map_err(|it| error::of(it, self.name).into())
    }

    pub(crate) fn remove(self) -> Result<(), StepError> {
        match self.spare {
            Some(spare) => self.locked.discard(spare),
            None => self.locked.unlink(self.name, self.len)?,
        }
        Ok(())
    }

    /// Removes the entry; its file may serve another one.
    pub(crate) fn retire(self) -> Result<(), StepError> {
        if self.is_alone { self.locked.retire(self.name, self.len) } else { self.remove() }
    }

    /// A write failed. What was there stays, if it is still whole: a small write has changed nothing, or stopped in the middle.
    fn give_up(&self, len: u64) {
        if let Some(spare) = self.spare {
            return self.locked.discard(spare);
        }
        let probe = || self.probe(None, Part::Value);
        let is_whole = len <= PAGE as u64 && matches!(probe(), Ok(Probe::Found(_) | Probe::Newer));
        if !is_whole {
            // The disk is full, say, so this is all that can be done; and what stays is known to be unfinished.
            let _ = self.locked.unlink(self.name, self.len);
        }
    }

    fn get_name(&self) -> Result<(), Errno> {
        self.spare.map_or(Ok(()), |spare| self.locked.place(spare, self.name))
    }

    fn put_all(&self, header: &Header, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        let mut start = header.encode(key);
        if start.len() + value.len() <= PAGE {
            start.extend_from_slice(value);
            return self.put(&start, 0);
        }
        self.put(&Header { whole: false, ..*header }.encode(key), 0)?;
        self.put(value, start.len() as u64)?;
        self.put(&start, 0)
    }

    fn put(&self, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match pwrite(&self.fd, bytes, at) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(len) => {
                    bytes = &bytes[len..];
                    at += len as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
