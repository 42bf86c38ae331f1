//! The database of one store: opens the file, and opens it again when it was replaced.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use cache_core::{Clock, Error, Result};
use rusqlite::Connection;

#[cfg(unix)]
use super::permissions;
use super::{
    connection::{open_reader, open_writer},
    error::Failure,
    file::{self, Identity, MAIN, SHM, WAL, with_suffix},
    fork_guard::ForkGuard,
    pool::Pool,
    session::Session,
    statements::Statements,
};
use crate::{options::SqlitePlan, time::Time};

#[derive(Debug)]
pub(super) struct Database {
    /// `None` means in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) plan: SqlitePlan,
    pub(super) time: Time,
    sql: Statements,
    pool: RwLock<Option<Arc<Pool>>>,
    /// Locked while the file is opened. Holds the last error, and until when it is returned without
    /// another attempt.
    opening: Mutex<Option<(Duration, Error)>>,
}

/// Milliseconds between two checks that the path still leads to the open file.
const CHECK_EVERY: u64 = 100;
/// How long a failed open is not repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the opening thread waits for other processes that create the same file.
const OPENING: Duration = Duration::from_secs(5);
/// SQLite counts milliseconds in an `int`, so it can wait about this long.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Database {
    pub(super) fn new(path: Option<PathBuf>, plan: SqlitePlan, clock: Clock) -> Self {
        let sql = Statements::new(&plan.plan.table);
        let time = if path.is_some() { Time::Wall(clock) } else { Time::Process(clock) };
        Self { path, plan, time, sql, pool: RwLock::default(), opening: Mutex::default() }
    }

    pub(super) fn clock(&self) -> &Clock {
        self.time.clock()
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the open connections if the path still leads to their file. Does not block.
    pub(super) fn ready(&self) -> Option<Arc<Pool>> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let now = self.clock().coarse().as_millis().try_into().unwrap_or(u64::MAX);
        if now.saturating_sub(pool.checked.load(Ordering::Relaxed)) >= CHECK_EVERY {
            pool.checked.store(now, Ordering::Relaxed);
            if (pool.file, pool.wal) != (self.identity(MAIN), self.identity(WAL)) {
                self.mark_stale(&pool);
                return None;
            }
        }
        Some(pool)
    }

    /// Returns the open connections. Opens the file first if necessary, and creates the file and
    /// the table. May block on the disk.
    pub(super) fn open(&self) -> Result<Arc<Pool>> {
        if let Some(pool) = self.ready() {
            return Ok(pool);
        }
        let mut failed = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = self.ready() {
            return Ok(pool);
        }
        let now = self.clock().now();
        if let Some((until, error)) = failed.as_ref()
            && now < *until
        {
            return Err(error.clone());
        }
        let res = ForkGuard::take(self.path()).map_err(Failure::from);
        match res.and_then(|guard| self.open_pool(guard)) {
            Ok(pool) => {
                let pool = Arc::new(pool);
                *failed = None;
                *self.pool.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Arc::clone(&pool));
                Ok(pool)
            }
            Err(failure) => {
                let error = self.failed(failure);
                *failed = Some((self.clock().now() + PAUSE, error.clone()));
                Err(error)
            }
        }
    }

    /// Forgets the open file. The next call opens whatever is at the path then.
    pub(super) fn mark_stale(&self, pool: &Arc<Pool>) {
        let mut current = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if current.take_if(|it| Arc::ptr_eq(it, pool)).is_some() {
            self.remove_old_wal(pool);
        }
    }

    /// Removes the WAL of a replaced file. SQLite uses any WAL that it finds beside a file, so the
    /// new file would be read with the WAL of the old one, and be corrupt. While the old WAL is
    /// open here, the system does not reuse its inode.
    fn remove_old_wal(&self, pool: &Pool) {
        let wal = self.identity(WAL);
        if wal.is_some() && pool.wal == wal && pool.file != self.identity(MAIN) {
            for suffix in [WAL, SHM] {
                // If this fails, the next read reports corruption.
                let _ = self.path().map(|it| std::fs::remove_file(with_suffix(it, suffix)));
            }
        }
    }

    /// Forgets the open file after a panic. Rolls back what was not committed.
    pub(super) fn discard(&self) {
        if self.path.is_some() {
            self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        } else if let Some(pool) = self.ready() {
            self.session(&pool.writer()).roll_back();
        }
    }

    /// Checkpoints the WAL and closes the file.
    pub(super) fn close(&self) -> Result<()> {
        if self.path.is_none() {
            // Closing an in-memory database would lose it.
            return Ok(());
        }
        let pool = self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pool) = pool else { return Ok(()) };
        pool.idle().clear();
        let writer = pool.writer();
        // Another process that has the file open may block the checkpoint. The process that closes
        // last runs it.
        let res = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        match res.map_err(Failure::from) {
            // If the disk is full, the WAL stays. It is as durable as the file.
            Err(failure) if !failure.is_busy() && !failure.is_full() => Err(self.failed(failure)),
            _ => Ok(()),
        }
    }

    /// Checkpoints and truncates the WAL. Returns whether this succeeded.
    pub(super) fn truncate_wal(&self, writer: &Connection) -> bool {
        let session = self.session(writer);
        session.roll_back();
        session.checkpoint("TRUNCATE").is_ok_and(|it| !it.is_busy)
    }

    /// Runs `ask` on a read connection.
    pub(super) fn read<T>(
        &self,
        operation: impl FnOnce(&Session<'_>) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let pool = self.open()?;
        self.read_from(&pool, operation)
    }

    /// Runs `ask` on a read connection of this pool, even if another file is at the path now.
    pub(super) fn read_from<T>(
        &self,
        pool: &Arc<Pool>,
        operation: impl FnOnce(&Session<'_>) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let res = if self.path.is_none() {
            operation(&self.session(&pool.writer()))
        } else {
            match self.reader(pool) {
                Ok(reader) => {
                    let session = self.session(&reader);
                    let res = operation(&session);
                    session.roll_back();
                    pool.idle().push(reader);
                    res
                }
                // The process may be out of descriptors. The open writer still works, so keep it.
                Err(_) if pool.file == self.identity(MAIN) => {
                    operation(&self.session(&pool.writer()))
                }
                Err(failure) => Err(failure),
            }
        };
        res.map_err(|failure| self.to_error(pool, failure))
    }

    pub(super) fn session<'a>(&'a self, db: &'a Connection) -> Session<'a> {
        Session { db, sql: &self.sql, time: &self.time, now: self.time.now() }
    }

    /// Converts a failure. If it may be about the file itself, the next call opens the file again.
    pub(super) fn to_error(&self, pool: &Arc<Pool>, failure: Failure) -> Error {
        if failure.is_about_the_file() && self.path.is_some() {
            self.mark_stale(pool);
        }
        self.failed(failure)
    }

    /// Returns how long a call waits for the lock of another process: a little less than the
    /// deadline, so that the caller gets an error that says why.
    pub(super) fn lock_wait(&self) -> Duration {
        (self.plan.plan.deadline / 8 * 7).min(LONGEST)
    }

    /// Returns the length at which the WAL is checkpointed.
    pub(super) fn wal_limit(&self) -> u64 {
        self.plan.wal_limit()
    }

    /// Returns the current length of the WAL.
    pub(super) fn wal_len(&self) -> u64 {
        self.path().map_or(0, |path| file::len(path, WAL))
    }

    fn identity(&self, suffix: &str) -> Option<Identity> {
        file::identity(self.path()?, suffix)
    }

    fn failed(&self, failure: Failure) -> Error {
        failure.into_error(self.path())
    }

    fn reader(&self, pool: &Pool) -> std::result::Result<Connection, Failure> {
        if let Some(idle) = pool.idle().pop() {
            return Ok(idle);
        }
        open_reader(pool.path.as_deref(), self.lock_wait())
    }

    /// Opens the writer and returns a pool around it.
    fn open_pool(&self, guard: Option<ForkGuard>) -> std::result::Result<Pool, Failure> {
        let began = Instant::now();
        let (writer, path, file) = loop {
            let path = self.prepare()?;
            let before = self.identity(MAIN);
            match open_writer(path.as_deref(), &self.plan) {
                // If several processes create the file, SQLite returns "busy" to all but one,
                // without waiting.
                Err(failure) if failure.is_busy() && began.elapsed() < OPENING => {
                    thread::sleep(Duration::from_millis(5));
                }
                // The file was created or replaced meanwhile, so it is not known which of the two
                // is open.
                Ok(_) if before != self.identity(MAIN) && began.elapsed() < OPENING => {}
                res => break (res?, path, before),
            }
        };
        let checked = self.clock().coarse().as_millis().try_into().unwrap_or(u64::MAX);
        Ok(Pool::new(writer, path, (file, self.identity(WAL)), checked, guard))
    }

    /// Returns the path to open, after checking that the file belongs to this user.
    #[cfg(unix)]
    fn prepare(&self) -> Result<Option<PathBuf>> {
        self.path().map(permissions::prepare).transpose()
    }

    /// On other systems the permissions of the folder decide.
    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "it may fail on unix")]
    fn prepare(&self) -> Result<Option<PathBuf>> {
        Ok(self.path.clone())
    }
}
