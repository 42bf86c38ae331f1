//! The writer thread: it commits waiting writes in groups, one transaction per group.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::{Error, ErrorKind, Result};
use rusqlite::Connection;

use super::{
    database::Database,
    error::{self, Failure},
    eviction::MAX_HOLD,
    maintenance::Maintenance,
    queue::{Job, Queue},
};

/// The queue and the thread that serves it. The first write starts the thread,
/// [`close`](Self::close) ends it.
#[derive(Debug)]
pub(super) struct WriterThread {
    pub(super) database: Arc<Database>,
    pub(super) maintenance: Maintenance,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The length of the WAL when it could not be truncated.
    long_wal: AtomicU64,
}

/// The pause between two attempts while another process holds the lock.
const PAUSE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));

impl WriterThread {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let maintenance = Maintenance::new(Arc::clone(&database));
        Self {
            database,
            maintenance,
            queue: Mutex::default(),
            wake: Condvar::new(),
            long_wal: AtomicU64::new(0),
        }
    }

    /// Adds a write to the queue.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the queue is full or the thread cannot start.
    pub(super) fn push(self: &Arc<Self>, job: Box<dyn Job>) -> Result<()> {
        let (now, path) = (self.database.clock().now(), self.database.path());
        let mut queue = self.queue();
        if !queue.has_thread {
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name("cache-db-writer".into());
            thread.spawn(move || shared.serve()).map_err(|err| {
                let what = format!("cannot start the writer thread: {err}");
                Error::new(ErrorKind::Unavailable, what)
            })?;
            queue.has_thread = true;
        }
        let (late, is_added) = queue.add(job, now);
        let wakes = !queue.is_busy;
        drop(queue);
        self.answer(late, Err(&error::timed_out_in_queue(path)));
        if !is_added {
            return Err(error::queue_full(path));
        }
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Returns whether no write is waiting or running.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.queue();
        !queue.is_busy && queue.is_empty()
    }

    /// Ends the thread after the waiting writes.
    pub(super) fn close(&self) {
        self.queue().is_closed = true;
        self.wake.notify_all();
        self.maintenance.end();
    }

    fn serve(&self) {
        while let Some(jobs) = self.next() {
            let count = jobs.len();
            // A panic drops the reply channels, so the callers get an error. Discarding the
            // connection rolls back its transaction.
            if catch_unwind(AssertUnwindSafe(|| self.write_group(jobs))).is_err() {
                self.database.discard();
            }
            self.maintenance.written(count as u64);
            self.shorten_long_wal();
        }
    }

    /// Truncates the WAL if the maintenance thread does not get to it.
    fn shorten_long_wal(&self) {
        let (len, limit) = (self.database.wal_len(), self.database.wal_limit());
        let long = self.long_wal.load(Ordering::Relaxed);
        if len <= 2 * limit {
            self.long_wal.store(0, Ordering::Relaxed);
        } else if long == 0 || len > long.saturating_add(limit) {
            let Some(pool) = self.database.ready() else { return };
            let is_short = self.truncate_soon(&pool.writer());
            // A reader blocks it, or the disk is full. Do not try again for each write.
            self.long_wal.store(if is_short { 0 } else { len }, Ordering::Relaxed);
        }
    }

    /// Truncates the WAL. On a busy machine the maintenance thread may have lost the processor in
    /// the middle of a read or of a checkpoint, which blocks this: it gets a short time to end.
    fn truncate_soon(&self, writer: &Connection) -> bool {
        let until = Instant::now() + MAX_HOLD;
        while !self.database.truncate_wal(writer) {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(PAUSE.0);
        }
        true
    }

    /// Takes the next group. Returns nothing at the end.
    fn next(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut queue = self.queue();
        queue.is_busy = false;
        while queue.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_busy = true;
        Some(queue.take_group())
    }

    fn write_group(&self, mut jobs: Vec<Box<dyn Job>>) {
        let pool = match self.database.open() {
            Ok(it) => it,
            Err(error) => return self.answer(jobs, Err(&error)),
        };
        let connection = pool.writer();
        if let Err(failure) = self.begin(&connection, &mut jobs) {
            let error = self.database.to_error(&pool, failure);
            return self.answer(jobs, Err(&error));
        }
        if jobs.is_empty() {
            return;
        }
        let mut res = self.run(&connection, &mut jobs);
        let is_full =
            res.as_ref().is_err_and(Failure::is_full) || jobs.iter().any(|it| it.hit_full_disk());
        let mut is_suspect = jobs.iter().any(|it| it.is_about_the_file());
        // The WAL holds superseded versions of pages. Truncating it frees the room for this write,
        // at least for one that removes.
        if is_full && self.database.truncate_wal(&connection) {
            if res.is_ok() {
                // The other writes are committed, and must not run twice.
                let (full, done) = jobs.into_iter().partition(|it| it.hit_full_disk());
                jobs = full;
                self.answer(done, Ok(()));
            }
            res =
                self.begin(&connection, &mut jobs).and_then(|()| self.run(&connection, &mut jobs));
        }
        drop(connection);
        is_suspect |= jobs.iter().any(|it| it.is_about_the_file());
        if is_suspect && self.database.path.is_some() {
            self.database.mark_stale(&pool);
        }
        let res = res.map_err(|failure| self.database.to_error(&pool, failure));
        self.answer(jobs, res.as_ref().copied());
    }

    /// Starts a transaction. Waits for other processes as long as a write of the group is wanted.
    fn begin(
        &self,
        connection: &Connection,
        jobs: &mut Vec<Box<dyn Job>>,
    ) -> std::result::Result<(), Failure> {
        let (mut pause, mut why) =
            (PAUSE.0, error::timed_out_in_queue as fn(Option<&Path>) -> Error);
        loop {
            // Writes may have waited so long, for the file or for writes before them, that their
            // deadline has passed.
            self.drop_unwanted(jobs, why);
            if jobs.is_empty() {
                return Ok(());
            }
            match connection.execute_batch("BEGIN IMMEDIATE").map_err(Failure::from) {
                Err(failure) if failure.is_busy() => thread::sleep(pause),
                Err(failure) => return Err(failure),
                Ok(()) => {
                    // The thread may have stood still before it had the lock.
                    self.drop_unwanted(jobs, why);
                    if jobs.is_empty() {
                        connection.execute_batch("ROLLBACK")?;
                    }
                    return Ok(());
                }
            }
            (pause, why) = ((pause * 2).min(PAUSE.1), error::locked);
            // The queue may hold expired writes, too, behind one with a later deadline.
            let mut behind = self.queue().take_all();
            self.drop_unwanted(&mut behind, why);
            self.queue().put_back(behind);
        }
    }

    /// Removes the writes whose time is over. They are never made.
    fn drop_unwanted(&self, jobs: &mut Vec<Box<dyn Job>>, error: fn(Option<&Path>) -> Error) {
        let now = self.database.clock().now();
        if jobs.iter().all(|it| it.is_wanted(now)) {
            return;
        }
        let (wanted, late) = std::mem::take(jobs).into_iter().partition(|it| it.is_wanted(now));
        *jobs = wanted;
        self.answer(late, Err(&error(self.database.path())));
    }

    fn run(
        &self,
        connection: &Connection,
        jobs: &mut [Box<dyn Job>],
    ) -> std::result::Result<(), Failure> {
        let began = Instant::now();
        for job in jobs {
            // Each write computes its expiry from its own time.
            job.run(&self.database.session(connection));
            // Some errors roll back the whole transaction.
            if connection.is_autocommit() {
                break;
            }
        }
        if connection.is_autocommit() {
            let what = "the transaction was rolled back because another write in it failed";
            return Err(Failure::Cache(Error::new(ErrorKind::Unavailable, what)));
        }
        // An error here also fails the commit, or maintenance meets it again.
        let _ = self
            .maintenance
            .evictor()
            .make_room(&self.database.session(connection), began.elapsed());
        connection.execute_batch("COMMIT").map_err(|error| {
            // The next transaction must not find this one open.
            let _ = connection.execute_batch("ROLLBACK");
            error.into()
        })
    }

    fn answer(&self, jobs: Vec<Box<dyn Job>>, committed: std::result::Result<(), &Error>) {
        for job in jobs {
            job.answer(committed, &self.database);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
