//! Errors of SQLite, as errors of [`cache_core`].

use std::path::Path;

use cache_core::{Error, ErrorKind};
use rusqlite::ffi::ErrorCode;

/// Why a call failed.
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

    /// Whether another connection held the lock. The statement did nothing.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(it) if is_busy(it))
    }

    /// Whether the disk is full.
    pub(super) fn is_full(&self) -> bool {
        let full = Some(ErrorCode::DiskFull);
        matches!(self, Self::Sqlite(it) if it.sqlite_error_code() == full)
    }

    /// Whether the file may have been replaced or damaged. The file is opened again then.
    pub(super) fn is_about_the_file(&self) -> bool {
        matches!(self, Self::Sqlite(it) if is_about_the_file(it))
    }
}

/// Converts an error. The text names the file and what to do, and shows no value.
fn of(error: &rusqlite::Error, path: Option<&Path>) -> Error {
    let (kind, what) = match error.sqlite_error_code() {
        Some(code) => kind(code),
        None => (ErrorKind::Backend, "the SQLite driver failed"),
    };
    let res = match error.sqlite_error() {
        Some(it) => Error::new(kind, format!("{what} (SQLite error code {})", it.extended_code)),
        None => Error::new(kind, what),
    };
    // A lock of another process says nothing about the disk, and reads still work.
    at(if is_busy(error) { res.ignored_by_breaker() } else { res }, path)
}

/// Returns the error of a write that waited for a lock until its deadline.
pub(super) fn locked(path: Option<&Path>) -> Error {
    at(Error::new(ErrorKind::TimedOut, LOCKED).ignored_by_breaker(), path)
}

/// Returns the error of a write whose deadline passed while it was queued.
pub(super) fn timed_out_in_queue(path: Option<&Path>) -> Error {
    let what = "timed out in the queue: earlier writes took longer than the deadline, and this one was not made; the disk is slow";
    at(Error::new(ErrorKind::TimedOut, what), path)
}

pub(super) fn queue_full(path: Option<&Path>) -> Error {
    let what = "the write queue is full, and this write was not made; the disk is slow";
    at(Error::new(ErrorKind::Unavailable, what), path)
}

const LOCKED: &str = "the database is locked: another connection holds a transaction open; end it";

/// Adds the path of the file to an error.
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
            "the database is read-only: permission denied; make the file and its folder writable for this user",
        ),
        ErrorCode::CannotOpen => (
            ErrorKind::Unavailable,
            "cannot open the database; its folder must exist, and be writable for this user",
        ),
        ErrorCode::DiskFull => (
            ErrorKind::Unavailable,
            "the disk is full; free some space, and the next write works again",
        ),
        ErrorCode::SystemIoFailure => {
            (ErrorKind::Unavailable, "disk I/O error: the disk failed to read or write")
        }
        ErrorCode::DatabaseCorrupt => (
            ErrorKind::Backend,
            "the database is corrupt; delete the file and those with -wal and -shm, and the next call creates it again",
        ),
        ErrorCode::NotADatabase => (
            ErrorKind::Backend,
            "the file is not a SQLite database; set another file in `location`, or delete it, and the next call creates it",
        ),
        ErrorCode::OutOfMemory => (ErrorKind::Backend, "SQLite is out of memory"),
        ErrorCode::TooBig => (ErrorKind::TooLarge, "the value is too large for SQLite"),
        ErrorCode::FileLockingProtocolFailed => (
            ErrorKind::Unavailable,
            "cannot lock the file: network file systems are not supported; use a local disk",
        ),
        _ => (
            ErrorKind::Backend,
            "SQLite refused the statement; another program may have changed the table",
        ),
    }
}
