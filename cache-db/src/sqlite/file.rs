//! The files of a database: their paths, and which files they are. No file is opened here.

use std::path::{Path, PathBuf};

/// The suffix of the database itself.
pub(super) const MAIN: &str = "";
/// The suffix of the write-ahead log (WAL).
pub(super) const WAL: &str = "-wal";
/// The suffix of the shared memory, which is the index of the WAL.
pub(super) const SHM: &str = "-shm";

/// Device and inode. They tell a file from a later file at the same path.
pub(super) type Identity = (u64, u64);

/// Returns the path of the database, or of a file that SQLite keeps beside it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Returns the identity of the file that is at the path now.
#[cfg(unix)]
pub(super) fn identity(path: &Path, suffix: &str) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(with_suffix(path, suffix)).ok()?;
    Some((found.dev(), found.ino()))
}

/// Returns nothing: on other systems an open file cannot be replaced.
#[cfg(not(unix))]
pub(super) fn identity(_: &Path, _: &str) -> Option<Identity> {
    None
}

/// Returns the length of a file, or 0 if it does not exist.
pub(super) fn len(path: &Path, suffix: &str) -> u64 {
    std::fs::symlink_metadata(with_suffix(path, suffix)).map_or(0, |found| found.len())
}
