//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a key's value or a path above the directory.

use std::fmt;

use cache_core::{Error, ErrorKind};
use rustix::io::Errno;

/// Why a step could not be done.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The directory was deleted while it was open. It may be there again.
    Deleted,
    /// There are too many open files. Those that the store keeps are closed now, so it may be tried again.
    TooManyOpenFiles(Error),
    Other(Error),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// What the system said of `what`, which is named by its path from the store's directory.
pub(crate) fn of(errno: Errno, what: impl fmt::Display) -> Error {
    let (kind, said) = match errno {
        Errno::NOSPC | Errno::DQUOT => {
            (ErrorKind::Backend, "no space is left; free some, or lower max_bytes".to_owned())
        }
        Errno::FBIG => (
            ErrorKind::Backend,
            "the file may not grow so large; raise the limit of file sizes (ulimit -f)".to_owned(),
        ),
        Errno::ROFS => (ErrorKind::Backend, "the file system is read-only".to_owned()),
        Errno::ACCESS | Errno::PERM => (
            ErrorKind::Backend,
            "permission denied; give the directory to the user that the program runs as".to_owned(),
        ),
        Errno::MFILE | Errno::NFILE => (
            ErrorKind::Backend,
            "too many open files; raise the limit (ulimit -n): the store keeps up to 259 open"
                .to_owned(),
        ),
        Errno::LOOP | Errno::MLINK => {
            (ErrorKind::Backend, "is a link, which is not followed; remove it".to_owned())
        }
        Errno::ISDIR | Errno::NOTDIR | Errno::SPIPE | Errno::NXIO => {
            (ErrorKind::Backend, "is not what the store made there; remove it".to_owned())
        }
        Errno::NOENT => (ErrorKind::Backend, "was deleted while it was in use".to_owned()),
        other => (ErrorKind::Backend, std::io::Error::from(other).to_string()),
    };
    Error::new(kind, said)
        .with_source(std::io::Error::from(errno))
        .with_context("file", what.to_string())
}

/// Whether this is for want of a descriptor.
pub(crate) fn is_of_open_files(error: &Error) -> bool {
    is_one_of(error, &[Errno::MFILE, Errno::NFILE])
}

/// Whether this is for want of room on the disk.
pub(crate) fn is_of_space(error: &Error) -> bool {
    is_one_of(error, &[Errno::NOSPC, Errno::DQUOT])
}

/// Whether this is for want of the directory, or of a folder in it.
pub(crate) fn is_of_deleted(error: &Error) -> bool {
    is_one_of(error, &[Errno::NOENT])
}

/// Whether there is something else where a folder would be.
pub(crate) fn is_of_no_folder(error: &Error) -> bool {
    is_one_of(error, &[Errno::NOTDIR, Errno::LOOP, Errno::MLINK])
}

fn is_one_of(error: &Error, all: &[Errno]) -> bool {
    let source = std::error::Error::source(error);
    let number = source.and_then(|it| it.downcast_ref::<std::io::Error>()?.raw_os_error());
    all.iter().any(|it| Some(it.raw_os_error()) == number)
}

/// The store's directory is not one to keep a cache in.
pub(crate) fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

/// Somebody holds the lock and does not let go.
#[cold]
pub(crate) fn locked(folder: impl fmt::Display) -> Error {
    let what =
        "another writer, perhaps a process that hangs, holds the lock for longer than the deadline";
    // It says nothing about the disk, and other folders go on.
    Error::new(ErrorKind::TimedOut, what)
        .ignored_by_breaker()
        .with_context("folder", folder.to_string())
}

/// Bytes that no writer leaves behind.
#[cold]
pub(crate) fn damaged(file: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Codec, "the file is damaged").with_context("file", file.to_string())
}

#[cold]
pub(crate) fn newer(file: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Codec, "the file was written by a newer release of cache-file")
        .with_context("file", file.to_string())
}

#[cold]
pub(crate) fn too_large(len: usize, max: u64) -> Error {
    let message =
        format!("the value has {len} bytes, and this store takes {max} (option `max_value_bytes`)");
    Error::new(ErrorKind::TooLarge, message)
}

#[cold]
pub(crate) fn key_too_long(len: usize) -> Error {
    Error::new(ErrorKind::InvalidKey, format!("the key is {len} bytes long"))
}
