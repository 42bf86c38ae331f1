//! Writing: queued to the writer thread, or directly on the caller's thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::{
    database::Database, error::Failure, queue::Job, session::Session, writer_thread::WriterThread,
};
use crate::options::Synchronous;

/// The body of a write. It may be started more than once; one run of it is committed.
pub(super) trait Work<T>:
    Fn(&Session<'_>) -> std::result::Result<T, Failure> + Send + 'static
{
}

impl<T, F> Work<T> for F where
    F: Fn(&Session<'_>) -> std::result::Result<T, Failure> + Send + 'static
{
}

/// The writing side of a store. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Writer {
    thread: Arc<WriterThread>,
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

/// Two tasks that write within so many microseconds count as concurrent.
const CONCURRENT: u64 = 1000;

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { thread: Arc::new(WriterThread::new(database)), last: Default::default() }
    }

    /// Writes before the deadline, unless the caller leaves earlier.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the write may still be made.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl Work<T>,
    ) -> Result<T> {
        let work = match self.write_directly(work) {
            Ok(res) => return res,
            Err(work) => work,
        };
        let now = self.thread.database.clock().now();
        let until = now.saturating_add(self.thread.database.lock_wait());
        self.enqueue(work, bytes, Some(until)).await
    }

    /// Writes without a deadline, unless the caller leaves.
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
        self.thread.push(Box::new(Write { work, bytes, done: None, answer, until }))?;
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Backend, "the writer thread has ended")))
    }

    /// Counts the entries and bytes of one successful write.
    pub(super) fn count_written(&self, entries: usize, bytes: usize) {
        self.thread.maintenance.written_bytes(bytes);
        if entries > 1 {
            self.thread.maintenance.written(entries as u64 - 1);
        }
    }

    /// Writes on the caller's thread if no other task writes, because waking a thread costs more
    /// than the write. Returns the work if another task writes, or if the write could block on the
    /// disk: a stalled disk would stop the caller's runtime.
    fn write_directly<T, W: Work<T>>(&self, work: W) -> std::result::Result<Result<T>, W> {
        let plan = &self.thread.database.plan;
        let may_wait = self.thread.database.path.is_some()
            && (!plan.direct_writes || plan.synchronous == Synchronous::Full);
        if may_wait || self.another_task_writes() || self.thread.maintenance.evictor().is_behind() {
            return Err(work);
        }
        if !self.thread.is_idle() {
            return Err(work);
        }
        let pool = match self.thread.database.ready() {
            Some(it) => it,
            // Opening an in-memory database does not block.
            None if self.thread.database.path.is_none() => match self.thread.database.open() {
                Ok(it) => it,
                Err(error) => return Ok(Err(error)),
            },
            None => return Err(work),
        };
        let Some(connection) = pool.idle_writer() else { return Err(work) };
        let session = self.thread.database.session(&connection);
        let res = work(&session);
        session.roll_back();
        drop(connection);
        match res {
            Err(failure) if failure.is_busy() || failure.is_full() => return Err(work),
            _ => self.thread.maintenance.written(1),
        }
        Ok(res.map_err(|failure| self.thread.database.to_error(&pool, failure)))
    }

    /// Returns whether another task wrote just now. Tasks of one thread never meet otherwise.
    fn another_task_writes(&self) -> bool {
        let id = tokio::task::try_id().map_or(0, |it| {
            use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
            BuildHasherDefault::<DefaultHasher>::default().hash_one(it)
        });
        let now = self.thread.database.clock().now().as_micros().try_into().unwrap_or(u64::MAX);
        let before = self.last.0.swap(id, Ordering::Relaxed);
        let since = now.saturating_sub(self.last.1.swap(now, Ordering::Relaxed));
        before != id && since < CONCURRENT
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.thread.close();
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
            // The error of this write says more than the error of the commit.
            (Some(Err(failure)), _) => Err(failure.into_error(database.path())),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(it)), Ok(())) => Ok(it),
            (None, Ok(())) => Err(Error::new(ErrorKind::Backend, "the write was not made")),
        };
        // The caller may have left.
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

    /// Stands for a machine on which the maintenance thread gets no time.
    #[tokio::test]
    async fn writer_evicts_when_maintenance_does_not_run() {
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
        store.writer().thread.maintenance.end();
        for n in 0..1000 {
            let key = format!("k{n}");
            store.set(&key, "v".into(), Expiry::Never, SetMode::Always).await.unwrap();
            assert!(store.has(&key).await.unwrap(), "what is new stays");
            let entries = store.database().read(|it| Ok(it.counters()?.0)).unwrap();
            // A quarter, and the write that finds the excess.
            assert!(entries <= i64::from(BOUND + BOUND / 4 + 2), "{entries} after {n}");
        }
    }
}
