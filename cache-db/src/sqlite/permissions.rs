//! File permissions: the database belongs to this user alone, as the directory of cache-file does.
//!
//! No file of the database is ever opened here. SQLite locks by `fcntl`, and a process that closes any descriptor of a file loses
//! its locks on that file.

use std::path::{Path, PathBuf};

use cache_core::{Error, ErrorKind};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, Stat, chmodat, stat, statat},
    io::Errno,
    process::geteuid,
};

use super::file::{MAIN, SHM, WAL, with_suffix};

/// Read and written by the owner.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
const OF_OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);
const WRITABLE_BY_OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);

/// Makes the file with mode 0600 if it is absent, and refuses a place where another user may put files or has put one. SQLite gives
/// the log and the shared memory the mode of the database.
///
/// Returns the path without links, which SQLite opens with `SQLITE_OPEN_NOFOLLOW`.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("the location is no file; name a file in `location`"));
    };
    let folder = parent.canonicalize().map_err(|error| {
        refused("the database cannot be opened; its folder must exist, and this user must have the right to write there")
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

/// A user who may write to the folder can put any file under any name there.
fn check_folder(folder: &Stat) -> Result<(), Error> {
    if folder.st_uid != geteuid().as_raw() {
        return Err(refused(
            "the folder of the database belongs to another user, who may write to it; give it to the user that the program \
             runs as (chown), or name a file in another folder",
        ));
    }
    if mode(folder).intersects(WRITABLE_BY_OTHERS) {
        return Err(refused(
            "other users may write to the folder of the database; take that from them (chmod go-w), or make a folder in it \
             for the database alone (mkdir -m 700)",
        ));
    }
    Ok(())
}

fn check_file(path: &Path, file: &Stat) -> Result<(), Error> {
    let kind = FileType::from_raw_mode(file.st_mode);
    let error = if kind.is_symlink() {
        "is a link, which is not followed; remove it, or name the file itself in `location`"
    } else if !kind.is_file() {
        "the database cannot be opened: it is no file; name another file in `location`"
    } else if file.st_uid != geteuid().as_raw() {
        "belongs to another user; delete it, or give it to the user that the program runs as (chown)"
    } else if mode(file).intersects(WRITABLE_BY_OTHERS) {
        // Another user may have changed it, and may have it open still.
        "other users may write to it; delete it, or take that from them (chmod go-w)"
    } else if mode(file).intersects(OF_OTHERS) {
        return chmodat(CWD, path, mode(file).difference(OF_OTHERS), AtFlags::empty()).map_err(of);
    } else {
        return Ok(());
    };
    Err(refused(error).with_context("file", path.display().to_string()))
}

/// Makes an empty file, which SQLite takes for an empty database. Another process may be the first.
fn make(path: &Path) -> Result<(), Error> {
    match make_empty(path) {
        // Whatever the umask.
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

/// Under another name first, as it is open for a moment.
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

/// The permissions alone.
fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

fn of(errno: Errno) -> Error {
    let what = match errno {
        Errno::NOSPC | Errno::DQUOT => "the disk is full; free some room there",
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            "the database cannot be opened; its folder must exist, and this user must have the right to write there"
        }
        _ => "the database cannot be opened",
    };
    refused(what).with_source(std::io::Error::from(errno))
}
