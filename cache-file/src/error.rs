//! Errors of the store. No message shows a stored value or a path above the store's directory.

use std::fmt;

use cache_core::{Error, ErrorKind};
use rustix::io::Errno;

/// The reason why one attempt at a step failed.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The directory was deleted while it was open. It may exist again, so a retry may succeed.
    Deleted,
    /// The process has too many open files. The store has closed its own, so a retry may succeed.
    TooManyOpenFiles(Error),
    /// A retry does not help.
    Other(Error),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Turns an error of the system into one of the store. `path` is relative to the directory.
pub(crate) fn of(errno: Errno, path: impl fmt::Display) -> Error {
    let message = match errno {
        Errno::NOSPC => {
            "disk full (no space left on device); free some space, or lower max_bytes".to_owned()
        }
        Errno::DQUOT => {
            "disk quota exceeded; raise the quota, free some space, or lower max_bytes".to_owned()
        }
        Errno::FBIG => {
            "file too large for the process; raise the limit of file sizes (ulimit -f)".to_owned()
        }
        Errno::ROFS => {
            "read-only file system; make it writable, or choose another location".to_owned()
        }
        Errno::ACCESS | Errno::PERM => {
            "permission denied; give the directory to the user that the program runs as".to_owned()
        }
        Errno::MFILE | Errno::NFILE => {
            "too many open files; raise the limit (ulimit -n): the store keeps up to 259 open"
                .to_owned()
        }
        Errno::LOOP | Errno::MLINK => {
            "unexpected symbolic link, which the store does not follow; remove it".to_owned()
        }
        Errno::ISDIR | Errno::NOTDIR | Errno::SPIPE | Errno::NXIO => {
            "unexpected file type, not created by the store; remove it".to_owned()
        }
        Errno::NOENT => "no such file or directory: it was deleted while in use".to_owned(),
        other => std::io::Error::from(other).to_string(),
    };
    Error::new(ErrorKind::Backend, message)
        .with_source(std::io::Error::from(errno))
        .with_context("file", path.to_string())
}

/// Returns whether the process or the system has too many open files.
pub(crate) fn is_too_many_open_files(error: &Error) -> bool {
    is_one_of(error, &[Errno::MFILE, Errno::NFILE])
}

/// Returns whether the disk is full or a quota is exceeded.
pub(crate) fn is_disk_full(error: &Error) -> bool {
    is_one_of(error, &[Errno::NOSPC, Errno::DQUOT])
}

/// Returns whether the directory, or a folder in it, does not exist.
pub(crate) fn is_not_found(error: &Error) -> bool {
    is_one_of(error, &[Errno::NOENT])
}

/// Returns whether something other than a folder has the folder's name.
pub(crate) fn is_not_a_folder(error: &Error) -> bool {
    is_one_of(error, &[Errno::NOTDIR, Errno::LOOP, Errno::MLINK])
}

fn is_one_of(error: &Error, expected: &[Errno]) -> bool {
    let source = std::error::Error::source(error);
    let code = source.and_then(|it| it.downcast_ref::<std::io::Error>()?.raw_os_error());
    expected.iter().any(|it| Some(it.raw_os_error()) == code)
}

/// The directory is not safe to keep a cache in.
pub(crate) fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

/// Another writer holds the lock of a folder for too long.
#[cold]
pub(crate) fn locked(folder: impl fmt::Display) -> Error {
    let message = "lock timeout: another writer, perhaps a stopped process, holds the lock of this \
                   folder longer than the deadline";
    // This says nothing about the disk, and the other folders still work.
    Error::new(ErrorKind::TimedOut, message)
        .ignored_by_breaker()
        .with_context("folder", folder.to_string())
}

/// Returned to no caller: the call was dropped.
#[cold]
pub(crate) fn left() -> Error {
    Error::new(ErrorKind::TimedOut, "not written: the caller dropped the call").ignored_by_breaker()
}

/// The bytes of the file are not what a writer leaves behind.
#[cold]
pub(crate) fn damaged(file: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Codec, "the file is damaged (wrong checksum or length)")
        .with_context("file", file.to_string())
}

/// A newer release has written the file.
#[cold]
pub(crate) fn newer(file: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Codec, "the file was written by a newer release of cache-file")
        .with_context("file", file.to_string())
}

/// The value exceeds the limit of the settings.
#[cold]
pub(crate) fn too_large(len: usize, max: u64) -> Error {
    let message =
        format!("the value has {len} bytes; the limit is {max} (option `max_value_bytes`)");
    Error::new(ErrorKind::TooLarge, message)
}

/// The key exceeds the limit of the file format.
#[cold]
pub(crate) fn key_too_long(len: usize, max: usize) -> Error {
    Error::new(ErrorKind::InvalidKey, format!("the key has {len} bytes; the limit is {max}"))
}
