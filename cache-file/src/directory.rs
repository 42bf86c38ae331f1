//! The directory while it is open: who may be in it, and its folders.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    sync::OnceLock,
};

use cache_core::Result;
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, chmodat, fchmod, fstat, mkdirat, openat, statat},
    io::Errno,
    process::geteuid,
};

use crate::{
    counters::Counters,
    entry_path::folder_name,
    error,
    folder::Folder,
    options::Plan,
    recycler::{self, Recycler},
};

/// The directory while it is open, by its descriptor: whatever becomes of the path, nothing outside is touched.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    /// Device and number.
    id: (u64, u64),
    folders: Vec<OnceLock<Folder>>,
    pub(crate) counters: Counters,
    pub(crate) recycler: Recycler,
}

/// How all is opened: links are not followed, pipes not waited for, and children inherit nothing.
pub(crate) const SAFELY: OFlags =
    OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = SAFELY.union(OFlags::DIRECTORY);
/// Only the owner may write, read, and look.
const PRIVATE: Mode = Mode::RWXU;
const WRITABLE_BY_OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);

impl Directory {
    /// Opens the directory, and makes it if `create`; `None` if it is not there.
    pub(crate) fn open(plan: &Plan, create: bool) -> Result<Option<Self>> {
        let path = &plan.path;
        let fd = match openat(CWD, path, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                make(path).and_then(|()| openat(CWD, path, FOLDER, Mode::empty()))
            }
            res => res,
        };
        let fd = match fd {
            Ok(it) => it,
            Err(Errno::NOENT) if !create => return Ok(None),
            Err(Errno::LOOP | Errno::MLINK | Errno::NOTDIR) => {
                let what = "the location is a link or no directory; name the directory itself";
                return Err(error::refused(what));
            }
            Err(errno) => return Err(error::of(errno, ".")),
        };
        let stat = fstat(&fd).map_err(|it| error::of(it, "."))?;
        check_owner(&stat)?;
        Ok(Some(Self {
            fd,
            id: id(&stat),
            folders: (0..=u8::MAX).map(|_| OnceLock::new()).collect(),
            counters: Counters::default(),
            recycler: Recycler::new(plan),
        }))
    }

    /// A folder, which is made if `create`; `None` if it is not there.
    pub(crate) fn folder(&self, number: u8, create: bool) -> Result<Option<&Folder>> {
        let place = &self.folders[usize::from(number)];
        if let Some(folder) = place.get() {
            return Ok(Some(folder));
        }
        let open = || self.open_folder(&folder_name(number), create);
        let fd = match open() {
            // What waits for entries may have the room.
            Err(error) if error::is_of_space(&error) && self.recycler.free_all() => open()?,
            res => res?,
        };
        let Some(fd) = fd else { return Ok(None) };
        // Who came second closes its own: locks of one process are of one descriptor.
        Ok(Some(place.get_or_init(|| Folder::new(number, fd))))
    }

    /// Any folder in it, for the owner alone.
    pub(crate) fn open_folder(&self, name: &[u8], create: bool) -> Result<Option<OwnedFd>> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        let fd = match openat(&self.fd, name, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) if !create && !self.is_deleted() => return Ok(None),
            Err(Errno::NOENT) if create => self.make_folder(name),
            res => res,
        };
        let fd = fd.map_err(|it| error::of(it, shown()))?;
        let stat = fstat(&fd).map_err(|it| error::of(it, shown()))?;
        check_owner(&stat).map_err(|it| it.with_context("folder", shown()))?;
        if mode(&stat) != PRIVATE {
            fchmod(&fd, PRIVATE).map_err(|it| error::of(it, shown()))?;
        }
        Ok(Some(fd))
    }

    fn make_folder(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        match mkdirat(&self.fd, name, PRIVATE) {
            // Whatever the umask.
            Ok(()) => chmodat(&self.fd, name, PRIVATE, AtFlags::empty())?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        openat(&self.fd, name, FOLDER, Mode::empty())
    }

    /// To be called before the first file is made in it. While it is empty it was made for us, with the permissions that the umask gave; one
    /// with files in it may have other uses.
    pub(crate) fn make_private(&self) -> Result<(), Errno> {
        let is_private = mode(&fstat(&self.fd)?) == PRIVATE;
        if is_private || !is_empty(&self.fd)? { Ok(()) } else { fchmod(&self.fd, PRIVATE) }
    }

    /// The directory's descriptor, for what lies in it beside the folders.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// It may be there again, with all that is missing in this one.
    fn is_deleted(&self) -> bool {
        fstat(&self.fd).is_ok_and(|it| it.st_nlink == 0)
    }

    /// Whether the path still leads here: it may have been deleted, or moved away. As well what is open beside the folders of entries.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let there = fs::symlink_metadata(path);
        there.is_ok_and(|it| (it.dev(), it.ino()) == self.id)
            && !self.counters.is_gone()
            && self
                .recycler
                .folder()
                .is_none_or(|it| self.leads_to(recycler::FOLDER.as_bytes(), it))
    }

    /// Whether a name in it is that of the folder.
    pub(crate) fn leads_to(&self, name: &[u8], folder: &OwnedFd) -> bool {
        let there = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| fstat(folder).is_ok_and(|here| id(&here) == id(&there)))
    }
}

/// All levels that are missing, each for its owner alone, whatever the umask.
fn make(path: &Path) -> Result<(), Errno> {
    let made = match mkdirat(CWD, path, PRIVATE) {
        Err(Errno::NOENT) => {
            make(path.parent().ok_or(Errno::NOENT)?)?;
            mkdirat(CWD, path, PRIVATE)
        }
        res => res,
    };
    match made {
        Ok(()) => chmodat(CWD, path, PRIVATE, AtFlags::empty()),
        Err(Errno::EXIST) => Ok(()), // somebody else did at the same time
        Err(errno) => Err(errno),
    }
}

/// Whoever may write there may put anything under any name, and take locks for ever.
fn check_owner(stat: &Stat) -> Result<()> {
    if stat.st_uid != geteuid().as_raw() {
        let what = "the directory belongs to another user, who may write to it; give it to the user that the \
                    program runs as (chown), or name another";
        return Err(error::refused(what));
    }
    if mode(stat).intersects(WRITABLE_BY_OTHERS) {
        let what = "others may write to the directory; take that from them (chmod go-w), or name a directory of its \
                    own in it, which is then made for this user alone";
        return Err(error::refused(what));
    }
    Ok(())
}

fn is_empty(fd: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(fd)? {
        if ![&b"."[..], b".."].contains(&entry?.file_name().to_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The permissions alone.
pub(crate) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    clippy::cast_sign_loss,
    reason = "its type differs by platform"
)]
fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}
