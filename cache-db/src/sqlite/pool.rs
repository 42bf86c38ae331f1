//! The connections to one open file: one writer, and readers.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError, atomic::AtomicU64},
};

use rusqlite::Connection;

use super::{file::Identity, fork_guard::ForkGuard};

/// Connections to a file that may have been replaced at its path meanwhile.
#[derive(Debug)]
pub(super) struct Pool {
    writer: Mutex<Connection>,
    /// Readers that are not in use.
    idle: Mutex<Vec<Connection>>,
    /// The path, with links resolved.
    pub(super) path: Option<PathBuf>,
    pub(super) file: Option<Identity>,
    /// The WAL that belongs to this file.
    pub(super) wal: Option<Identity>,
    /// When the path was last checked, in milliseconds of the coarse clock.
    pub(super) checked: AtomicU64,
    /// Dropped after all connections.
    _guard: Option<ForkGuard>,
}

impl Pool {
    pub(super) fn new(
        writer: Connection,
        path: Option<PathBuf>,
        (file, wal): (Option<Identity>, Option<Identity>),
        checked: u64,
        guard: Option<ForkGuard>,
    ) -> Self {
        Self {
            writer: Mutex::new(writer),
            idle: Mutex::default(),
            path,
            file,
            wal,
            checked: AtomicU64::new(checked),
            _guard: guard,
        }
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the writer if it is free.
    pub(super) fn idle_writer(&self) -> Option<MutexGuard<'_, Connection>> {
        free(&self.writer)
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn free<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(it) => Some(it),
        Err(TryLockError::Poisoned(it)) => Some(it.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
