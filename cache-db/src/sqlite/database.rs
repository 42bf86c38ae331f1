//! The file, and the connections to it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::{Clock, Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

#[cfg(unix)]
use super::permissions;
use super::{
    error::Failure, fork_guard::ForkGuard, schema, session::Session, statements::Statements,
};
use crate::{
    options::{SqlitePlan, Synchronous},
    time::Time,
};

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
    path: Option<PathBuf>,
    file: Option<Identity>,
    /// Its log, which belongs to that file and no other.
    log: Option<Identity>,
    /// When the path was last looked at, in milliseconds of the coarse clock.
    checked: AtomicU64,
    /// Dropped last, when all is closed.
    _lease: Option<ForkGuard>,
}

/// What tells a file from another one at the same path.
type Identity = (u64, u64);

pub(super) const FILE: &str = "";
pub(super) const WAL: &str = "-wal";
pub(super) const SHM: &str = "-shm";
/// How often it is seen whether the file is still there.
const CHECK_EVERY: u64 = 100;
/// A file that cannot be opened is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);
/// Others may be making the same file: they are waited for this long, by nobody but the thread that opens.
const OPENING: Duration = Duration::from_secs(5);
/// What SQLite can wait for at the most, about: it counts milliseconds in an `int`.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// SQLite's own memory for each connection, in KiB.
const CACHE: u32 = 16 * 1024;
/// Bounds of [`Database::log_limit`].
const WAL_LIMIT: (u64, u64) = (1 << 20, 64 << 20);

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
            if (pool.file, pool.log) != (self.identity(FILE), self.identity(WAL)) {
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
        match res.and_then(|lease| self.connect_first(lease)) {
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
            self.remove_old_log(pool);
        }
    }

    /// SQLite takes the log that it finds beside a file for that file's, and a file that was replaced would be read with the log of the
    /// one before, which is damage. While that is open here, its numbers are not given to another.
    fn remove_old_log(&self, pool: &Pool) {
        let log = self.identity(WAL);
        if log.is_some() && pool.log == log && pool.file != self.identity(FILE) {
            for suffix in [WAL, SHM] {
                // If it cannot be removed, what is read will tell.
                let _ = self.path().map(|it| std::fs::remove_file(beside(it, suffix)));
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
                Err(_) if pool.file == self.identity(FILE) => ask(&self.session(&pool.writer())),
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
        self.plan.plan.max_bytes.unwrap_or(u64::MAX).clamp(WAL_LIMIT.0, WAL_LIMIT.1)
    }

    /// The length of the log's file.
    pub(super) fn wal_len(&self) -> u64 {
        let found = self.path().and_then(|it| std::fs::symlink_metadata(beside(it, WAL)).ok());
        found.map_or(0, |it| it.len())
    }

    fn failed(&self, failure: Failure) -> Error {
        failure.into_error(self.path())
    }

    fn reader(&self, pool: &Pool) -> std::result::Result<Connection, Failure> {
        if let Some(idle) = pool.idle().pop() {
            return Ok(idle);
        }
        let reader = connect(pool.path.as_deref(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        reader.busy_timeout(self.lock_wait())?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(reader)
    }

    /// The first connection, which is the one that writes. It never waits by itself for another process.
    fn connect_first(&self, lease: Option<ForkGuard>) -> std::result::Result<Pool, Failure> {
        let began = Instant::now();
        let (writer, path, file) = loop {
            let path = self.prepare()?;
            let before = self.identity(FILE);
            match self.connect_writer(path.as_deref()) {
                // Of those who make the file, one goes first, and SQLite itself does not wait for it.
                Err(failure) if failure.is_busy() && began.elapsed() < OPENING => {
                    thread::sleep(Duration::from_millis(5));
                }
                // It was made or replaced meanwhile: which of the two was opened?
                Ok(_) if before != self.identity(FILE) && began.elapsed() < OPENING => {}
                res => break (res?, path, before),
            }
        };
        let checked = self.clock().coarse().as_millis().try_into().unwrap_or(u64::MAX);
        Ok(Pool {
            writer: Mutex::new(writer),
            maintenance: Mutex::default(),
            idle: Mutex::default(),
            path,
            file,
            log: self.identity(WAL),
            checked: AtomicU64::new(checked),
            _lease: lease,
        })
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

    fn connect_writer(&self, path: Option<&Path>) -> std::result::Result<Connection, Failure> {
        let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let db = connect(path, create)?;
        db.busy_timeout(Duration::ZERO)?;
        let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if self.path.is_some() && !mode.eq_ignore_ascii_case("wal") {
            return Err(Failure::Cache(Error::new(
                ErrorKind::Unavailable,
                "the database cannot have a write-ahead log there; a network file system is no place for it",
            )));
        }
        db.pragma_update(
            None,
            "synchronous",
            match self.plan.synchronous {
                Synchronous::Off => "OFF",
                Synchronous::Normal => "NORMAL",
                Synchronous::Full => "FULL",
            },
        )?;
        // The keeper does that, beside the writes.
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        let limit = format!("PRAGMA journal_size_limit = {}", self.wal_limit());
        db.query_row(&limit, [], |_| Ok(()))?;
        let encoding: String = db.query_row("PRAGMA encoding", [], |row| row.get(0))?;
        if encoding != "UTF-8" {
            // Text is what bytes are taken for when they are counted.
            return Err(Failure::Cache(Error::new(
                ErrorKind::Backend,
                format!(
                    "the database is in {encoding}, and only UTF-8 will do; name another file in `location`"
                ),
            )));
        }
        schema::ensure(&db, &self.plan.plan.table)?;
        Ok(db)
    }

    #[cfg(unix)]
    fn identity(&self, suffix: &str) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::symlink_metadata(beside(self.path()?, suffix)).ok()?;
        Some((found.dev(), found.ino()))
    }

    /// Elsewhere a file that is open cannot be taken away.
    #[cfg(not(unix))]
    fn identity(&self, _: &str) -> Option<Identity> {
        None
    }
}

fn connect(path: Option<&Path>, how: OpenFlags) -> std::result::Result<Connection, Failure> {
    // Each connection has one user at a time.
    let how = how | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = match path {
        Some(path) => Connection::open_with_flags(path, how)?,
        None => Connection::open_in_memory_with_flags(how)?,
    };
    // Another program may have made the schema and the pages.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(32);
    // Who closes last would delete the log at the path, which is another file's if this one was taken away.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "cache_size", -i64::from(CACHE))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

/// The file, or what SQLite keeps beside it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

impl Pool {
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

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
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
