//! The file: opened by the first call, and again after `close` or an I/O error.

use std::{
    path::PathBuf,
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::SystemTime,
};

use cache_core::{Clock, Error, ErrorKind, Result};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase};

use crate::{
    options::Options,
    tables::{BY_EXPIRY, Change, ENTRIES, EntryKey, EntryValue, TableResult, View},
};

pub(crate) struct Engine {
    path: PathBuf,
    options: Options,
    clock: Clock,
    database: RwLock<Option<Database>>,
}

impl Engine {
    pub(crate) fn new(path: PathBuf, options: Options, clock: Clock) -> Self {
        Self { path, options, clock, database: RwLock::new(None) }
    }

    /// Reads the entries of one moment.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&View<ReadOnlyTable<EntryKey, EntryValue>>) -> TableResult<T>,
    ) -> Result<T> {
        self.run(|database| {
            // The clock is read first: an entry that expires between the two lines was live during
            // the call. In the other order, an entry whose lifetime another call extends between
            // the two would be missing.
            let now = self.now();
            let transaction = database.begin_read()?;
            read(&View::new(transaction.open_table(ENTRIES)?, now))
        })
    }

    /// Changes the entries in one transaction.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&mut Change<'_>) -> TableResult<T>,
    ) -> Result<T> {
        self.run(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(self.durability())?;
            let entries = transaction.open_table(ENTRIES)?;
            let by_expiry = transaction.open_table(BY_EXPIRY)?;
            // redb has one writer at a time, so the clock is read after the wait for it.
            let mut tables = Change::new(entries, by_expiry, self.now(), self.options.max_entries);
            let answer = change(&mut tables)?;
            if tables.into_changed() {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(answer)
        })
    }

    /// Opens the file, if it is closed.
    pub(crate) fn open(&self) -> Result<()> {
        self.run(|_| Ok(()))
    }

    /// Waits for the running calls and closes the file. The next call opens it again.
    pub(crate) fn close(&self) -> Result<()> {
        match self.lock_exclusively().take() {
            Some(database) if !self.options.durable => flush(&database).map_err(error),
            _ => Ok(()),
        }
    }

    fn run<T>(&self, call: impl FnOnce(&Database) -> TableResult<T>) -> Result<T> {
        let guard = self.opened().map_err(error)?;
        let answer = guard.as_ref().map_or(Err(redb::Error::DatabaseClosed), call);
        drop(guard);
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = answer {
            // redb refuses all calls after an I/O error, so the next call opens the file again.
            *self.lock_exclusively() = None;
        }
        answer.map_err(error)
    }

    fn opened(&self) -> TableResult<RwLockReadGuard<'_, Option<Database>>> {
        loop {
            let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if guard.is_some() {
                return Ok(guard);
            }
            drop(guard);
            let mut slot = self.lock_exclusively();
            if slot.is_none() {
                let database = Database::builder().set_cache_size(PAGE_CACHE).create(&self.path)?;
                let transaction = database.begin_write()?;
                transaction.open_table(ENTRIES)?;
                transaction.open_table(BY_EXPIRY)?;
                transaction.commit()?;
                *slot = Some(database);
            }
        }
    }

    fn lock_exclusively(&self) -> std::sync::RwLockWriteGuard<'_, Option<Database>> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn durability(&self) -> Durability {
        if self.options.durable { Durability::Immediate } else { Durability::None }
    }

    /// Nanoseconds of the wall clock: entries outlive the process, and its monotonic clock does
    /// not.
    fn now(&self) -> u64 {
        let since = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Replaces redb's default of 1 GiB.
const PAGE_CACHE: usize = 32 << 20;

/// Commits durably, which makes the earlier commits durable as well.
fn flush(database: &Database) -> TableResult<()> {
    Ok(database.begin_write()?.commit()?)
}

// ANCHOR: error
/// Errors of redb quote neither values nor the path, so they may be attached.
fn error(err: redb::Error) -> Error {
    let (kind, what) = match err {
        redb::Error::DatabaseAlreadyOpen => (
            ErrorKind::Unavailable,
            "the file is locked by another process, or by another store of this one",
        ),
        redb::Error::Io(_) => (ErrorKind::Unavailable, "I/O error on the file"),
        _ => (ErrorKind::Backend, "redb failed"),
    };
    Error::new(kind, what).with_source(err)
}
// ANCHOR_END: error
