//! The file, and the connections to it.

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
    /// None is in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) plan: SqlitePlan,
    pub(super) time: Time,
    sql: Statements,
    pool: RwLock<Option<Arc<Pool>>>,
    /// Held by who opens: why it failed, and until when it is not tried again.
    opening: Mutex<Option<(Duration, Error)>>,
}

/// How often it is seen whether the file is still there.
const CHECK_EVERY: u64 = 100;
/// A file that cannot be opened is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);
/// Others may be making the same file: they are waited for this long, by nobody but the thread that opens.
const OPENING: Duration = Duration::from_secs(5);
/// What SQLite can wait for at the most, about: it counts milliseconds in an `int`.
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

    /// What was opened, if it is still what is at the path. Waits for nobody.
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

    /// Opens the file, makes it and its table if need be. Waits for the disk.
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

    /// Opens it anew at the next call: it may be another file by then.
    pub(super) fn mark_stale(&self, pool: &Arc<Pool>) {
        let mut current = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if current.take_if(|it| Arc::ptr_eq(it, pool)).is_some() {
            self.remove_old_wal(pool);
        }
    }

    /// SQLite takes the log that it finds beside a file for that file's, and a file that was replaced would be read with the log of the
    /// one before, which is damage. While that is open here, its numbers are not given to another.
    fn remove_old_wal(&self, pool: &Pool) {
        let wal = self.identity(WAL);
        if wal.is_some() && pool.wal == wal && pool.file != self.identity(MAIN) {
            for suffix in [WAL, SHM] {
                // If it cannot be removed, what is read will tell.
                let _ = self.path().map(|it| std::fs::remove_file(with_suffix(it, suffix)));
            }
        }
    }

    /// Lets go of it, whatever it is; what was not committed is rolled back with that.
    pub(super) fn discard(&self) {
        if self.path.is_some() {
            self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        } else if let Some(pool) = self.ready() {
            self.session(&pool.writer()).roll_back();
        }
    }

    /// Puts all that was written into the file itself, and lets go of it.
    pub(super) fn close(&self) -> Result<()> {
        if self.path.is_none() {
            // In memory, closing would be losing.
            return Ok(());
        }
        let pool = self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pool) = pool else { return Ok(()) };
        pool.idle().clear();
        let writer = pool.writer();
        // Who else has the file open may keep it from being done, and does it then.
        let res = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        match res.map_err(Failure::from) {
            // On a full disk the log stays, and is as good as the file.
            Err(failure) if !failure.is_busy() && !failure.is_full() => Err(self.failed(failure)),
            _ => Ok(()),
        }
    }

    /// Writes the log into the file, and gives its room back; whether that was done.
    pub(super) fn truncate_wal(&self, writer: &Connection) -> bool {
        let session = self.session(writer);
        session.roll_back();
        session.checkpoint("TRUNCATE").is_ok_and(|it| !it.is_busy)
    }

    /// Asks on a connection that reads.
    pub(super) fn read<T>(
        &self,
        ask: impl FnOnce(&Session<'_>) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let pool = self.open()?;
        self.read_from(&pool, ask)
    }

    /// Asks what was opened, also if something else is at the path by now.
    pub(super) fn read_from<T>(
        &self,
        pool: &Arc<Pool>,
        ask: impl FnOnce(&Session<'_>) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let res = if self.path.is_none() {
            ask(&self.session(&pool.writer()))
        } else {
            match self.reader(pool) {
                Ok(reader) => {
                    let session = self.session(&reader);
                    let res = ask(&session);
                    session.roll_back();
                    pool.idle().push(reader);
                    res
                }
                // No more files can be opened, say: what is open is good for it, and must not be given up.
                Err(_) if pool.file == self.identity(MAIN) => ask(&self.session(&pool.writer())),
                Err(failure) => Err(failure),
            }
        };
        res.map_err(|failure| self.to_error(pool, failure))
    }

    pub(super) fn session<'a>(&'a self, db: &'a Connection) -> Session<'a> {
        Session { db, sql: &self.sql, time: &self.time, now: self.time.now() }
    }

    /// An error to hand on; the file is opened anew if it may be about that.
    pub(super) fn to_error(&self, pool: &Arc<Pool>, failure: Failure) -> Error {
        if failure.is_about_the_file() && self.path.is_some() {
            self.mark_stale(pool);
        }
        self.failed(failure)
    }

    /// How long a call waits for another process: somewhat less than it may take, so that the caller is told why.
    pub(super) fn lock_wait(&self) -> Duration {
        (self.plan.plan.deadline / 8 * 7).min(LONGEST)
    }

    /// About the longest that the log may be: in proportion to the table, as it is on the same disk.
    pub(super) fn wal_limit(&self) -> u64 {
        self.plan.wal_limit()
    }

    /// The length of the log's file.
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

    /// The first connection, which is the one that writes. It never waits by itself for another process.
    fn open_pool(&self, guard: Option<ForkGuard>) -> std::result::Result<Pool, Failure> {
        let began = Instant::now();
        let (writer, path, file) = loop {
            let path = self.prepare()?;
            let before = self.identity(MAIN);
            match open_writer(path.as_deref(), &self.plan) {
                // Of those who make the file, one goes first, and SQLite itself does not wait for it.
                Err(failure) if failure.is_busy() && began.elapsed() < OPENING => {
                    thread::sleep(Duration::from_millis(5));
                }
                // It was made or replaced meanwhile: which of the two was opened?
                Ok(_) if before != self.identity(MAIN) && began.elapsed() < OPENING => {}
                res => break (res?, path, before),
            }
        };
        let checked = self.clock().coarse().as_millis().try_into().unwrap_or(u64::MAX);
        Ok(Pool::new(writer, path, (file, self.identity(WAL)), checked, guard))
    }

    /// The path to open, at which this user's file is.
    #[cfg(unix)]
    fn prepare(&self) -> Result<Option<PathBuf>> {
        self.path().map(permissions::prepare).transpose()
    }

    /// Elsewhere the permissions of the folder decide.
    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "it may fail on unix")]
    fn prepare(&self) -> Result<Option<PathBuf>> {
        Ok(self.path.clone())
    }
}
