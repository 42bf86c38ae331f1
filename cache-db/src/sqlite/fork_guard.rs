//! Which process opened the SQLite files.

use std::{
    path::Path,
    process,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use cache_core::{Error, ErrorKind, Result};

/// A file that this process has open.
///
/// SQLite keeps lock states in memory, by inode. A child of `fork` inherits this memory but not the
/// locks, so even a new connection of the child would rely on locks that it does not hold. The
/// child gets an error instead.
#[derive(Debug)]
pub(super) struct ForkGuard;

static OWNER: AtomicU32 = AtomicU32::new(0);
static OPEN: AtomicUsize = AtomicUsize::new(0);

impl ForkGuard {
    /// Registers an open file. In-memory databases need no guard.
    pub(super) fn take(path: Option<&Path>) -> Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let is_inherited = is_inherited(
            OWNER.load(Ordering::Acquire),
            OPEN.load(Ordering::Acquire),
            process::id(),
        );
        if is_inherited {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the process was forked while a SQLite file was open, which SQLite does not survive; call close() before the \
                 fork, or make the first call after it",
            )
            .with_context("file", path.display().to_string()));
        }
        OWNER.store(process::id(), Ordering::Release);
        OPEN.fetch_add(1, Ordering::AcqRel);
        Ok(Some(Self))
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_inherited(owner: u32, open: usize, process: u32) -> bool {
    open > 0 && owner != process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_is_refused_a_file_that_the_parent_had_open() {
        assert!(is_inherited(1, 1, 2), "open in the parent");
        assert!(!is_inherited(1, 0, 2), "closed before the fork");
        assert!(!is_inherited(1, 3, 1), "one's own");
        assert!(!is_inherited(0, 0, 2), "the first of all");
    }
}
