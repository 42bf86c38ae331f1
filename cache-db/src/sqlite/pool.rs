//! The connections to one opened file: one that writes, and those that read.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError, atomic::AtomicU64},
};

use rusqlite::Connection;

use super::{file::Identity, fork_guard::ForkGuard};

/// A file that was opened, and may not be what is at its path any more.
#[derive(Debug)]
pub(super) struct Pool {
    writer: Mutex<Connection>,
    /// Held by the keeper from when it wants the writer until it is done with it. Locks go to whoever is there when they are free,
    /// which is who has just let go: without a word, writes without end would leave the keeper nothing.
    maintenance: Mutex<()>,
    /// Those that read, while nobody has them.
    idle: Mutex<Vec<Connection>>,
    /// Without links.
    pub(super) path: Option<PathBuf>,
    pub(super) file: Option<Identity>,
    /// Its log, which belongs to that file and no other.
    pub(super) wal: Option<Identity>,
    /// When the path was last looked at, in milliseconds of the coarse clock.
    pub(super) checked: AtomicU64,
    /// Dropped last, when all is closed.
    _guard: Option<ForkGuard>,
}

impl Pool {
    /// Holds the connection that writes to this file, and readers as they are opened.
    pub(super) fn new(
        writer: Connection,
        path: Option<PathBuf>,
        (file, wal): (Option<Identity>, Option<Identity>),
        checked: u64,
        guard: Option<ForkGuard>,
    ) -> Self {
        Self {
            writer: Mutex::new(writer),
            maintenance: Mutex::default(),
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

    /// After the keeper, if it waits.
    pub(super) fn writer_after_maintenance(&self) -> MutexGuard<'_, Connection> {
        drop(self.maintenance());
        self.writer()
    }

    /// If nobody has it and the keeper does not wait for it.
    pub(super) fn idle_writer(&self) -> Option<MutexGuard<'_, Connection>> {
        drop(free(&self.maintenance)?);
        free(&self.writer)
    }

    /// Says that the keeper wants the writer.
    pub(super) fn maintenance(&self) -> MutexGuard<'_, ()> {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
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
