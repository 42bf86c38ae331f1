//! What SQLite says, in our words.

use std::path::Path;

use cache_core::{Error, ErrorKind};
use rusqlite::ffi::ErrorCode;

/// Why a call failed: by SQLite's fault, or by what was found.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Cache(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(it: rusqlite::Error) -> Self {
        Self::Sqlite(it)
    }
}

impl From<Error> for Failure {
    fn from(it: Error) -> Self {
        Self::Cache(it)
    }
}

impl Failure {
    pub(super) fn into_error(self, path: Option<&Path>) -> Error {
        match self {
            Self::Sqlite(it) => of(&it, path),
            Self::Cache(it) => at(it, path),
        }
    }

    /// Whether another connection was in the way, and nothing was done.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(it) if is_busy(it))
    }

    /// Whether the disk has no room.
    pub(super) fn is_full(&self) -> bool {
        let full = Some(ErrorCode::DiskFull);
        matches!(self, Self::Sqlite(it) if it.sqlite_error_code() == full)
    }

    /// Whether the file may not be what it was: it is opened anew then.
    pub(super) fn is_about_the_file(&self) -> bool {
        matches!(self, Self::Sqlite(it) if is_about_the_file(it))
    }
}

/// An error of a call. It names the file, says what to do, and shows no value.
fn of(error: &rusqlite::Error, path: Option<&Path>) -> Error {
    let (kind, what) = match error.sqlite_error_code() {
        Some(code) => kind(code),
        None => (ErrorKind::Backend, "the driver of SQLite failed"),
    };
    let res = match error.sqlite_error() {
        Some(it) => Error::new(kind, format!("{what} (SQLite's code {})", it.extended_code)),
        None => Error::new(kind, what),
    };
    // A lock that another program holds says nothing about the disk, and others read on.
    at(if is_busy(error) { res.ignored_by_breaker() } else { res }, path)
}

/// Another connection held the lock until the time of a write was up.
pub(super) fn locked(path: Option<&Path>) -> Error {
    at(Error::new(ErrorKind::TimedOut, LOCKED).ignored_by_breaker(), path)
}

/// A write's time was up before its turn.
pub(super) fn timed_out_in_queue(path: Option<&Path>) -> Error {
    let what = "the writes before this one took longer than the deadline, so it was not made; the disk is slow";
    at(Error::new(ErrorKind::TimedOut, what), path)
}

pub(super) fn queue_full(path: Option<&Path>) -> Error {
    let what = "too many writes wait for the disk, so this one was not made; the disk is slow";
    at(Error::new(ErrorKind::Unavailable, what), path)
}

const LOCKED: &str = "the database is locked by another connection; who holds a transaction open keeps all others from writing";

/// An error with the file that it is about.
fn at(error: Error, path: Option<&Path>) -> Error {
    match path {
        Some(path) => error.with_context("file", path.display().to_string()),
        None => error,
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn is_about_the_file(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::SchemaChanged
                | ErrorCode::Unknown
        )
    )
}

fn kind(code: ErrorCode) -> (ErrorKind, &'static str) {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (ErrorKind::TimedOut, LOCKED),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => (
            ErrorKind::Unavailable,
            "the database may not be written; give this user the right to write the file and its folder",
        ),
        ErrorCode::CannotOpen => (
            ErrorKind::Unavailable,
            "the database cannot be opened; its folder must exist, and this user must have the right to write there",
        ),
        ErrorCode::DiskFull => (
            ErrorKind::Unavailable,
            "the disk is full; free some room there, and writes go on by themselves",
        ),
        ErrorCode::SystemIoFailure => {
            (ErrorKind::Unavailable, "the disk did not read or write as it should")
        }
        ErrorCode::DatabaseCorrupt => (
            ErrorKind::Backend,
            "the database is damaged; delete the file, with those of its name that end in -wal and -shm, and it is made anew",
        ),
        ErrorCode::NotADatabase => (
            ErrorKind::Backend,
            "the file is no SQLite database; name another one in `location`, or delete it, and it is made anew",
        ),
        ErrorCode::OutOfMemory => (ErrorKind::Backend, "SQLite got no memory"),
        ErrorCode::TooBig => (ErrorKind::TooLarge, "the value is larger than SQLite takes"),
        ErrorCode::FileLockingProtocolFailed => (
            ErrorKind::Unavailable,
            "the file cannot be locked; a database is not for a network file system",
        ),
        _ => (
            ErrorKind::Backend,
            "SQLite refuses the statement; is the table changed by somebody else?",
        ),
    }
}
