//! File permissions: the database belongs to this user alone, as in cache-file.
//!
//! This module never opens a file of the database. SQLite locks by `fcntl`, and a process that
//! closes any descriptor of a file loses its locks on this file.

use std::path::{Path, PathBuf};

use cache_core::{Error, ErrorKind};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, Stat, chmodat, stat, statat},
    io::Errno,
    process::geteuid,
};

use super::file::{MAIN, SHM, WAL, with_suffix};

/// Read and write for the owner.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
const OF_OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);
const WRITABLE_BY_OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);

/// Creates the file with mode 0600 if it does not exist. Refuses a folder or a file that another
/// user could have written. SQLite gives the WAL and the shared memory the mode of the database.
///
/// Returns the path without links. SQLite opens it with `SQLITE_OPEN_NOFOLLOW`.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("the location is not a file; set a file in `location`"));
    };
    let folder = parent.canonicalize().map_err(|error| {
        refused("cannot open the database; its folder must exist, and be writable for this user")
            .with_source(error)
    })?;
    check_folder(&stat(&folder).map_err(of)?)?;
    let path = folder.join(name);
    for suffix in [MAIN, WAL, SHM] {
        let file = with_suffix(&path, suffix);
        match statat(CWD, &file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => check_file(&file, &found)?,
            Err(Errno::NOENT) if suffix == MAIN => make(&file)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(of(errno)),
        }
    }
    Ok(path)
}

/// A user who may write to the folder can put any file there.
fn check_folder(folder: &Stat) -> Result<(), Error> {
    if folder.st_uid != geteuid().as_raw() {
        return Err(refused(
            "the folder of the database belongs to another user, who may write to it; give it to the user of the program \
             (chown), or set a file in another folder",
        ));
    }
    if mode(folder).intersects(WRITABLE_BY_OTHERS) {
        return Err(refused(
            "other users may write to the folder of the database; remove the permission (chmod go-w), or create a folder \
             in it for the database alone (mkdir -m 700)",
        ));
    }
    Ok(())
}

fn check_file(path: &Path, file: &Stat) -> Result<(), Error> {
    let kind = FileType::from_raw_mode(file.st_mode);
    let error = if kind.is_symlink() {
        "the database is a link, which is not followed; remove it, or set the file itself in `location`"
    } else if !kind.is_file() {
        "cannot open the database: not a regular file; set another file in `location`"
    } else if file.st_uid != geteuid().as_raw() {
        "the database belongs to another user; delete it, or give it to the user of the program (chown)"
    } else if mode(file).intersects(WRITABLE_BY_OTHERS) {
        // Another user may have changed the file, and may still have it open.
        "other users may write to the database; delete it, or remove the permission (chmod go-w)"
    } else if mode(file).intersects(OF_OTHERS) {
        return chmodat(CWD, path, mode(file).difference(OF_OTHERS), AtFlags::empty()).map_err(of);
    } else {
        return Ok(());
    };
    Err(refused(error).with_context("file", path.display().to_string()))
}

/// Creates an empty file, which is an empty database for SQLite. Another process may create it
/// first.
fn make(path: &Path) -> Result<(), Error> {
    match make_empty(path) {
        // The mode must not depend on the umask.
        Ok(()) => chmodat(CWD, path, PRIVATE, AtFlags::empty()).map_err(of),
        Err(Errno::EXIST) => {
            let found = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(of)?;
            check_file(path, &found)
        }
        Err(errno) => Err(of(errno)),
    }
}

#[cfg(target_os = "linux")]
fn make_empty(path: &Path) -> Result<(), Errno> {
    rustix::fs::mknodat(CWD, path, FileType::RegularFile, PRIVATE, 0)
}

/// Creates the file under a temporary name, because this way opens it.
#[cfg(not(target_os = "linux"))]
fn make_empty(path: &Path) -> Result<(), Errno> {
    use rustix::fs::{OFlags, linkat, openat, unlinkat};
    use std::hash::{BuildHasher as _, RandomState};

    let number = RandomState::new().hash_one(std::process::id());
    let other = with_suffix(path, &format!("-{number:016x}"));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(openat(CWD, &other, flags, PRIVATE)?);
    let made = linkat(CWD, &other, CWD, path, AtFlags::empty());
    let _ = unlinkat(CWD, &other, AtFlags::empty());
    made
}

/// Returns the permission bits.
fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

fn of(errno: Errno) -> Error {
    let what = match errno {
        Errno::NOSPC | Errno::DQUOT => "the disk is full; free some space",
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            "cannot open the database: permission denied; its folder must exist, and be writable for this user"
        }
        _ => "cannot open the database",
    };
    refused(what).with_source(std::io::Error::from(errno))
}
