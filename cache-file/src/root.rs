//! The store's directory as a file descriptor, and how the store opens files and folders safely.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
};

use cache_core::Result;
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, chmodat, fchmod, fstat, mkdirat, openat, statat},
    io::Errno,
    process::geteuid,
};

use crate::error;

/// The open directory of a store.
///
/// Everything in it is opened relative to its descriptor, so the store never touches files outside
/// of it, even if the path is renamed or replaced.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    /// Device and inode.
    id: (u64, u64),
}

/// The flags of every `open`: do not follow links, do not wait for pipes, and do not pass the
/// descriptor to child processes.
pub(crate) const SAFE: OFlags =
    OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = SAFE.union(OFlags::DIRECTORY);
/// Only the owner may list, read and write.
const PRIVATE: Mode = Mode::RWXU;
const WRITABLE_BY_OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);

impl Root {
    /// Opens the directory, and creates it if `create`. `None` if it does not exist.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Option<Self>> {
        let fd = match openat(CWD, path, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                create_path(path).and_then(|()| openat(CWD, path, FOLDER, Mode::empty()))
            }
            opened => opened,
        };
        let fd = match fd {
            Ok(fd) => fd,
            Err(Errno::NOENT) if !create => return Ok(None),
            Err(Errno::LOOP | Errno::MLINK | Errno::NOTDIR) => {
                let message = "the location is a symbolic link or not a directory; set it to the \
                               path of the directory itself";
                return Err(error::refused(message));
            }
            Err(errno) => return Err(error::of(errno, ".")),
        };
        let stat = fstat(&fd).map_err(|it| error::of(it, "."))?;
        check_owner(&stat)?;
        Ok(Some(Self { fd, id: id(&stat) }))
    }

    /// Opens a folder in the directory, and creates it if `create`. `None` if it does not exist.
    pub(crate) fn open_folder(&self, name: &[u8], create: bool) -> Result<Option<OwnedFd>> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        let fd = match openat(&self.fd, name, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) if !create && !self.is_deleted() => return Ok(None),
            Err(Errno::NOENT) if create => self.create_folder(name),
            opened => opened,
        };
        let fd = fd.map_err(|it| error::of(it, shown()))?;
        let stat = fstat(&fd).map_err(|it| error::of(it, shown()))?;
        check_owner(&stat).map_err(|it| it.with_context("folder", shown()))?;
        if mode(&stat) != PRIVATE {
            fchmod(&fd, PRIVATE).map_err(|it| error::of(it, shown()))?;
        }
        Ok(Some(fd))
    }

    fn create_folder(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        match mkdirat(&self.fd, name, PRIVATE) {
            // The umask may have removed permissions.
            Ok(()) => chmodat(&self.fd, name, PRIVATE, AtFlags::empty())?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        openat(&self.fd, name, FOLDER, Mode::empty())
    }

    /// Makes an empty directory accessible to its owner alone. Call this before creating the first
    /// file.
    ///
    /// An empty directory was created for the store, with the permissions that the umask left. One
    /// with files in it may have other uses, so its permissions stay.
    pub(crate) fn make_private(&self) -> Result<(), Errno> {
        let is_private = mode(&fstat(&self.fd)?) == PRIVATE;
        if is_private || !is_empty(&self.fd)? { Ok(()) } else { fchmod(&self.fd, PRIVATE) }
    }

    /// Returns the directory's descriptor.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Returns whether the path still leads to this directory. It may have been deleted or moved.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == self.id)
    }

    /// Returns whether the open folder still has this name in the directory.
    pub(crate) fn contains(&self, name: &[u8], folder: &OwnedFd) -> bool {
        let found = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|found| fstat(folder).is_ok_and(|open| id(&open) == id(&found)))
    }

    fn is_deleted(&self) -> bool {
        fstat(&self.fd).is_ok_and(|it| it.st_nlink == 0)
    }
}

/// Returns the permission bits of a file.
pub(crate) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

/// Creates a directory and its missing parents, each for its owner alone whatever the umask.
fn create_path(path: &Path) -> Result<(), Errno> {
    let created = match mkdirat(CWD, path, PRIVATE) {
        Err(Errno::NOENT) => {
            create_path(path.parent().ok_or(Errno::NOENT)?)?;
            mkdirat(CWD, path, PRIVATE)
        }
        created => created,
    };
    match created {
        Ok(()) => chmodat(CWD, path, PRIVATE, AtFlags::empty()),
        Err(Errno::EXIST) => Ok(()), // another process created it at the same time
        Err(errno) => Err(errno),
    }
}

/// Refuses a directory that other users can write to: they could store anything under any key, and
/// hold locks for ever.
fn check_owner(stat: &Stat) -> Result<()> {
    if stat.st_uid != geteuid().as_raw() {
        let message = "the directory belongs to another user, who can write to it; change its \
                       owner to the user that the program runs as (chown), or choose another \
                       location";
        return Err(error::refused(message));
    }
    if mode(stat).intersects(WRITABLE_BY_OTHERS) {
        let message = "other users can write to the directory; remove their permission (chmod \
                       go-w), or choose a new subdirectory, which the store creates for this user \
                       alone";
        return Err(error::refused(message));
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

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    clippy::cast_sign_loss,
    reason = "the types differ by platform"
)]
fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}
