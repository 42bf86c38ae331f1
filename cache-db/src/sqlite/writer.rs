//! Writes: one at a time, as SQLite has it; what waits is written in one transaction.

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
use tokio::sync::oneshot;

use super::{
    database::Database,
    error::{self, Failure},
    maintenance::Maintenance,
    queue::{Job, Queue},
    session::Session,
};
use crate::options::Synchronous;

/// What a write does. It may be begun more than once, and is done once.
pub(super) trait Work<T>:
    Fn(&Session<'_>) -> std::result::Result<T, Failure> + Send + 'static
{
}

impl<T, F> Work<T> for F where
    F: Fn(&Session<'_>) -> std::result::Result<T, Failure> + Send + 'static
{
}

/// The one that writes, with a thread that is started when it is needed and ends with this value.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    maintenance: Maintenance,
    queue: Mutex<Queue>,
    work: Condvar,
    /// How long the log was when it could not be made shorter.
    long_wal: AtomicU64,
    /// The task that wrote last, and when, in microseconds.
    last: (AtomicU64, AtomicU64),
}

struct Write<T, W> {
    work: W,
    bytes: usize,
    done: Option<std::result::Result<T, Failure>>,
    answer: oneshot::Sender<Result<T>>,
    until: Option<Duration>,
}

/// Two tasks that write within this time write at the same time.
const CONCURRENT: u64 = 1000;
/// How long another process is waited for before it is asked again.
const PAUSE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let maintenance = Maintenance::new(Arc::clone(&database));
        Self(Arc::new(Shared {
            database,
            maintenance,
            queue: Mutex::default(),
            work: Condvar::new(),
            long_wal: AtomicU64::new(0),
            last: Default::default(),
        }))
    }

    /// Writes, for as long as the caller waits and no longer than the deadline.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl Work<T>,
    ) -> Result<T> {
        let work = match self.0.write_directly(work) {
            Ok(res) => return res,
            Err(work) => work,
        };
        let now = self.0.database.clock().now();
        let until = now.saturating_add(self.0.database.lock_wait());
        self.enqueue(work, bytes, Some(until)).await
    }

    /// Writes, for as long as the caller waits.
    pub(super) async fn write_without_deadline<T: Send + 'static>(
        &self,
        work: impl Work<T>,
    ) -> Result<T> {
        self.enqueue(work, 0, None).await
    }

    async fn enqueue<T: Send + 'static>(
        &self,
        work: impl Work<T>,
        bytes: usize,
        until: Option<Duration>,
    ) -> Result<T> {
        let (answer, receiver) = oneshot::channel();
        self.push(Box::new(Write { work, bytes, done: None, answer, until }))?;
        receiver.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the thread that writes has ended"))
        })
    }

    /// So many entries were written by one write, with so many bytes.
    pub(super) fn count_written(&self, entries: usize, bytes: usize) {
        self.0.maintenance.written_bytes(bytes);
        if entries > 1 {
            self.0.maintenance.written(entries as u64 - 1);
        }
    }

    fn push(&self, job: Box<dyn Job>) -> Result<()> {
        let (now, path) = (self.0.database.clock().now(), self.0.database.path());
        let mut queue = self.0.queue();
        if !queue.has_thread {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("cache-db-writer".into());
            thread.spawn(move || shared.serve()).map_err(|err| {
                let what = format!("cannot start the thread that writes: {err}");
                Error::new(ErrorKind::Unavailable, what)
            })?;
            queue.has_thread = true;
        }
        let (late, is_added) = queue.add(job, now);
        let wakes = !queue.is_busy;
        drop(queue);
        self.0.answer(late, Err(&error::timed_out_in_queue(path)));
        if !is_added {
            return Err(error::queue_full(path));
        }
        if wakes {
            self.0.work.notify_one();
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.queue().is_closed = true;
        self.0.work.notify_all();
        self.0.maintenance.end();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on the caller's thread if nobody else writes: waking another costs more than the write. Gives the work back
    /// if somebody does, or if the disk may be waited for: a stalled one would stop the caller's runtime.
    fn write_directly<T, W: Work<T>>(&self, work: W) -> std::result::Result<Result<T>, W> {
        let plan = &self.database.plan;
        let may_wait = self.database.path.is_some()
            && (!plan.direct_writes || plan.synchronous == Synchronous::Full);
        if may_wait || self.another_task_writes() || self.maintenance.is_behind() {
            return Err(work);
        }
        {
            let queue = self.queue();
            if queue.is_busy || !queue.is_empty() {
                return Err(work);
            }
        }
        let pool = match self.database.ready() {
            Some(it) => it,
            // In memory it takes no time.
            None if self.database.path.is_none() => match self.database.open() {
                Ok(it) => it,
                Err(error) => return Ok(Err(error)),
            },
            None => return Err(work),
        };
        let Some(connection) = pool.idle_writer() else { return Err(work) };
        let session = self.database.session(&connection);
        let res = work(&session);
        session.roll_back();
        drop(connection);
        match res {
            Err(failure) if failure.is_busy() || failure.is_full() => return Err(work),
            _ => self.maintenance.written(1),
        }
        Ok(res.map_err(|failure| self.database.to_error(&pool, failure)))
    }

    /// Whether another task has written just now. Tasks of one thread never meet here otherwise.
    fn another_task_writes(&self) -> bool {
        let id = tokio::task::try_id().map_or(0, |it| {
            use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
            BuildHasherDefault::<DefaultHasher>::default().hash_one(it)
        });
        let now = self.database.clock().now().as_micros().try_into().unwrap_or(u64::MAX);
        let before = self.last.0.swap(id, Ordering::Relaxed);
        let since = now.saturating_sub(self.last.1.swap(now, Ordering::Relaxed));
        before != id && since < CONCURRENT
    }

    fn serve(&self) {
        while let Some(jobs) = self.next() {
            let count = jobs.len();
            // A panic drops the answers, which the callers see as an error, and the connection's transaction is rolled back below.
            if catch_unwind(AssertUnwindSafe(|| self.write_group(jobs))).is_err() {
                self.database.discard();
            }
            self.maintenance.written(count as u64);
            self.shorten_long_wal();
        }
    }

    /// Where the keeper is left behind, the log must not grow for all that.
    fn shorten_long_wal(&self) {
        let (len, limit) = (self.database.wal_len(), self.database.wal_limit());
        let long = self.long_wal.load(Ordering::Relaxed);
        if len <= 2 * limit {
            self.long_wal.store(0, Ordering::Relaxed);
        } else if long == 0 || len > long.saturating_add(limit) {
            let Some(pool) = self.database.ready() else { return };
            let is_short = self.database.truncate_wal(&pool.writer_after_maintenance());
            // A reader is in the way, or the disk is full: it is not tried for each write.
            self.long_wal.store(if is_short { 0 } else { len }, Ordering::Relaxed);
        }
    }

    /// All that waits; nothing at the end.
    fn next(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut queue = self.queue();
        queue.is_busy = false;
        while queue.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_busy = true;
        Some(queue.take_group())
    }

    fn write_group(&self, mut jobs: Vec<Box<dyn Job>>) {
        let pool = match self.database.open() {
            Ok(it) => it,
            Err(error) => return self.answer(jobs, Err(&error)),
        };
        let connection = pool.writer_after_maintenance();
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
        // What the log holds twice and more is room for what is to be written, if only that something is removed.
        if is_full && self.database.truncate_wal(&connection) {
            if res.is_ok() {
                // The others are committed, and must not be done twice.
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

    /// Waits for other processes, as long as anybody here waits.
    fn begin(
        &self,
        connection: &Connection,
        jobs: &mut Vec<Box<dyn Job>>,
    ) -> std::result::Result<(), Failure> {
        let (mut pause, mut why) =
            (PAUSE.0, error::timed_out_in_queue as fn(Option<&Path>) -> Error);
        loop {
            // They may have waited for the file, or for the writes before them, until nobody wants them.
            self.drop_unwanted(jobs, why);
            if jobs.is_empty() {
                return Ok(());
            }
            match connection.execute_batch("BEGIN IMMEDIATE").map_err(Failure::from) {
                Err(failure) if failure.is_busy() => thread::sleep(pause),
                res => return res,
            }
            (pause, why) = ((pause * 2).min(PAUSE.1), error::locked);
            // So may those that are behind one with more patience.
            let mut behind = self.queue().take_all();
            self.drop_unwanted(&mut behind, why);
            self.queue().put_back(behind);
        }
    }

    /// Those whose time is over are told so, and are never made.
    fn drop_unwanted(&self, jobs: &mut Vec<Box<dyn Job>>, error: fn(Option<&Path>) -> Error) {
        let now = self.database.clock().now();
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
            // Each by its own moment.
            job.run(&self.database.session(connection));
            // After some errors the whole transaction is gone.
            if connection.is_autocommit() {
                break;
            }
        }
        if connection.is_autocommit() {
            let what = "the transaction was rolled back, because one of the writes in it failed";
            return Err(Failure::Cache(Error::new(ErrorKind::Unavailable, what)));
        }
        // What fails here fails the commit, too, or is the keeper's to find.
        let _ = self.maintenance.make_room(&self.database.session(connection), began.elapsed());
        connection.execute_batch("COMMIT").map_err(|error| {
            // Or the next would find it open.
            let _ = connection.execute_batch("ROLLBACK");
            error.into()
        })
    }

    fn answer(&self, jobs: Vec<Box<dyn Job>>, committed: std::result::Result<(), &Error>) {
        for job in jobs {
            job.answer(committed, &self.database);
        }
    }
}

impl<T: Send, W: Work<T>> Job for Write<T, W> {
    fn is_wanted(&self, now: Duration) -> bool {
        !self.answer.is_closed() && self.until.is_none_or(|it| now < it)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn hit_full_disk(&self) -> bool {
        matches!(&self.done, Some(Err(failure)) if failure.is_full())
    }

    fn run(&mut self, session: &Session<'_>) {
        self.done = Some((self.work)(session));
    }

    fn is_about_the_file(&self) -> bool {
        matches!(&self.done, Some(Err(failure)) if failure.is_about_the_file())
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), &Error>, database: &Database) {
        let res = match (self.done, committed) {
            // What failed by itself says more than what came of it.
            (Some(Err(failure)), _) => Err(failure.into_error(database.path())),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(it)), Ok(())) => Ok(it),
            (None, Ok(())) => Err(Error::new(ErrorKind::Backend, "the write was not made")),
        };
        // Nobody may be there any more.
        let _ = self.answer.send(res);
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{
        Clock,
        store::{Backend as _, Expiry, SetMode},
    };

    use super::*;
    use crate::{
        options::{Plan, SqlitePlan},
        sqlite::SqliteStore,
        table::Table,
    };

    /// As on a machine that has no moment for it.
    #[tokio::test]
    async fn the_writer_makes_room_where_the_keeper_does_not() {
        const BOUND: u16 = 100;
        let plan = Plan {
            table: Table::new("cache").unwrap(),
            max_entries: Some(BOUND.into()),
            max_bytes: None,
            max_value_len: 1000,
            deadline: Duration::from_secs(60),
        };
        let synchronous = Synchronous::Normal;
        let plan =
            SqlitePlan { plan, synchronous, readers: 1, direct_reads: true, direct_writes: false };
        let store = SqliteStore::new(None, plan, Clock::system());
        store.writer().0.maintenance.end();
        for n in 0..1000 {
            let key = format!("k{n}");
            store.set(&key, "v".into(), Expiry::Never, SetMode::Always).await.unwrap();
            assert!(store.has(&key).await.unwrap(), "what is new stays");
            let entries = store.database().read(|it| Ok(it.counters()?.0)).unwrap();
            // A quarter, and the one that finds that it is more.
            assert!(entries <= i64::from(BOUND + BOUND / 4 + 2), "{entries} after {n}");
        }
    }
}
