//! The file: opened by the first call, and again after it was closed or lost.

use std::{
    path::PathBuf,
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::SystemTime,
};

use cache_core::{Clock, Error, ErrorKind, Result};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase};

use crate::{
    Options,
    tables::{BY_END, Change, ENTRIES, EntryKey, EntryValue, View},
};

pub(crate) struct Engine {
    path: PathBuf,
    options: Options,
    clock: Clock,
    database: RwLock<Option<Database>>,
}

/// What an operation on the tables answers; only the engine can fail in it.
pub(crate) type Done<T> = Result<T, redb::Error>;

impl Engine {
    pub(crate) fn new(path: PathBuf, options: Options, clock: Clock) -> Self {
        Self { path, options, clock, database: RwLock::new(None) }
    }

    /// Looks at the entries of one moment.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&View<ReadOnlyTable<EntryKey, EntryValue>>) -> Done<T>,
    ) -> Result<T> {
        self.run(|database| {
            // The time first: an entry that ends between the two was live during the call. The other way round,
            // one whose life is prolonged between the two would be missing.
            let now = self.now();
            let transaction = database.begin_read()?;
            look(&View::new(transaction.open_table(ENTRIES)?, now))
        })
    }

    /// Changes the entries in one step.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Change<'_>) -> Done<T>) -> Result<T> {
        self.run(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(self.durability())?;
            let entries = transaction.open_table(ENTRIES)?;
            let by_end = transaction.open_table(BY_END)?;
            // There is one writer at a time, and from here on it is this one.
            let mut tables = Change::new(entries, by_end, self.now(), self.options.max_entries);
            let answer = change(&mut tables)?;
            if tables.into_changed() {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(answer)
        })
    }

    /// Opens the file, if need be.
    pub(crate) fn open(&self) -> Result<()> {
        self.run(|_| Ok(()))
    }

    /// Waits for the calls that are under way; the next one opens the file again.
    pub(crate) fn close(&self) -> Result<()> {
        match self.lock_alone().take() {
            Some(database) if !self.options.durable => flush(&database).map_err(error),
            _ => Ok(()),
        }
    }

    fn run<T>(&self, call: impl FnOnce(&Database) -> Done<T>) -> Result<T> {
        let guard = self.opened().map_err(error)?;
        let answer = guard.as_ref().map_or(Err(redb::Error::DatabaseClosed), call);
        drop(guard);
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = answer {
            // redb serves no more after it; the next call begins anew.
            *self.lock_alone() = None;
        }
        answer.map_err(error)
    }

    fn opened(&self) -> Done<RwLockReadGuard<'_, Option<Database>>> {
        loop {
            let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if guard.is_some() {
                return Ok(guard);
            }
            drop(guard);
            let mut slot = self.lock_alone();
            if slot.is_none() {
                let database = Database::builder().set_cache_size(PAGE_CACHE).create(&self.path)?;
                let transaction = database.begin_write()?;
                transaction.open_table(ENTRIES)?;
                transaction.open_table(BY_END)?;
                transaction.commit()?;
                *slot = Some(database);
            }
        }
    }

    fn lock_alone(&self) -> std::sync::RwLockWriteGuard<'_, Option<Database>> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn durability(&self) -> Durability {
        if self.options.durable { Durability::Immediate } else { Durability::None }
    }

    /// Nanoseconds by the wall clock, because entries outlive the process, and its monotonic clock does not.
    fn now(&self) -> u64 {
        let since = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// redb's own default is a gibibyte.
const PAGE_CACHE: usize = 32 << 20;

/// Commits that were not durable become so with the next one that is.
fn flush(database: &Database) -> Done<()> {
    Ok(database.begin_write()?.commit()?)
}

// ANCHOR: error
/// redb's errors quote neither values nor the path, so they may be attached.
fn error(err: redb::Error) -> Error {
    let (kind, what) = match err {
        redb::Error::DatabaseAlreadyOpen => {
            (ErrorKind::Unavailable, "another process, or another store of this one, has the file")
        }
        redb::Error::Io(_) => (ErrorKind::Unavailable, "the file cannot be read or written"),
        _ => (ErrorKind::Backend, "redb failed"),
    };
    Error::new(kind, what).with_source(err)
}
// ANCHOR_END: error
