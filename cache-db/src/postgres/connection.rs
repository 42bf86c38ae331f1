//! A connection that is logged in: statements on it, and its end.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error};
use cache_net::{Peek, SocketHandle};
use futures_util::TryStreamExt as _;
use tokio::{runtime::Handle, sync::OnceCell, task::AbortHandle};
use tokio_postgres::{Client, Error as PgError, Row, SimpleQueryMessage, Statement as Prepared};

use super::{
    abandoned::{Abandoned, Session, WHICH},
    address::Address,
    detached::Caller,
    error,
    param::Param,
    statements::{COUNT, Statement},
    transport::Link,
};
use crate::table::Table;

/// A connection, what is prepared on it, and the task that moves its bytes.
pub(crate) struct Connection {
    pub(crate) client: Client,
    socket: SocketHandle,
    table: Table,
    statements: [OnceCell<Prepared>; COUNT],
    task: AbortHandle,
    clock: Clock,
    session: Option<Session>,
    abandoned: Arc<Abandoned>,
    /// Writes that were sent and not answered.
    unanswered: AtomicUsize,
    /// When something was last heard on it, in milliseconds of the clock.
    heard: AtomicU64,
}

/// What a statement answers.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<Row>,
    /// How many it has written or removed.
    pub(crate) count: u64,
}

/// The statements are made for `read committed`, where one that meets another waits and goes on. Their plans are the same whatever
/// is asked, so they are made once; that may be while the table is empty, and they must not be those for an empty one.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
                       SET enable_seqscan = off; SET jit = off";
/// After so long without an answer, a look at the connection costs little beside what it saves.
const IDLE: Duration = Duration::from_millis(20);
/// How long its task may take to read what the server said last.
const READING: (u32, Duration) = (20, Duration::from_millis(1));

impl Connection {
    /// Takes a connection over. Its bytes are moved by a task of this runtime.
    pub(crate) fn new(
        link: Link,
        runtime: &Handle,
        table: Table,
        clock: Clock,
        abandoned: Arc<Abandoned>,
    ) -> Self {
        Self {
            client: link.client,
            socket: link.socket,
            table,
            statements: std::array::from_fn(|_| OnceCell::new()),
            task: runtime.spawn(link.io_task).abort_handle(),
            heard: AtomicU64::new(millis(clock.now())),
            clock,
            session: None,
            abandoned,
            unanswered: AtomicUsize::new(0),
        }
    }

    /// Sets the session up, whatever the server's own settings are, and learns which it is.
    pub(crate) async fn set_up(
        &mut self,
        lock_wait: Duration,
        address: &Address,
    ) -> Result<(), Error> {
        let sql = format!("{}; {SESSION}; {WHICH}", lock_timeout(lock_wait));
        let reply = self.client.simple_query(&sql).await.map_err(|it| error::of(&it, address))?;
        self.session = reply.iter().find_map(|it| match it {
            SimpleQueryMessage::Row(row) => {
                let number = |i| row.try_get(i).ok().flatten();
                let (pid, began) = (number(0)?.parse().ok()?, number(1)?.parse().ok()?);
                Some(Session { pid, began })
            }
            _ => None,
        });
        Ok(())
    }

    /// Has statements wait for locks for so long.
    pub(crate) async fn wait_for_locks(&self, time: Duration) -> Result<(), PgError> {
        self.client.batch_execute(&lock_timeout(time)).await
    }

    /// Sends a statement, after it was prepared if need be. Others may be under way at the same time. `None` if it was not sent, because
    /// its caller is gone.
    pub(crate) async fn execute(
        &self,
        statement: Statement,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Option<Reply>, PgError> {
        let prepared = match self.statements[statement as usize].get() {
            Some(it) => it,
            None => Box::pin(self.prepare(statement)).await?,
        };
        let on_send = || {
            if statement.writes() {
                self.unanswered.fetch_add(1, Ordering::SeqCst);
                caller.set_unanswered(true);
            }
        };
        // Boxed, because each future around it would have room for it twice.
        let sending = Box::pin(self.client.query_raw(prepared, params));
        let answer = async {
            let Some(stream) = caller.send(sending, on_send).await else { return Ok(None) };
            let stream = stream?;
            let mut stream = std::pin::pin!(stream);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(row);
            }
            Ok(Some(Reply { rows, count: stream.rows_affected().unwrap_or_default() }))
        };
        let answer = answer.await;
        let is_said = match &answer {
            Ok(it) => it.is_some(),
            Err(error) => PgError::code(error).is_some(),
        };
        if is_said {
            self.heard.store(millis(self.clock.now()), Ordering::Relaxed);
            if statement.writes() {
                self.unanswered.fetch_sub(1, Ordering::SeqCst);
                caller.set_unanswered(false);
            }
        }
        answer
    }

    async fn prepare(&self, statement: Statement) -> Result<&Prepared, PgError> {
        let prepare = || async { self.client.prepare(&statement.sql(&self.table)).await };
        self.statements[statement as usize].get_or_try_init(prepare).await
    }

    /// For how long nothing was heard on it.
    pub(crate) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.clock.now().saturating_sub(heard)
    }

    /// Whether it is still there, as far as this machine knows. A connection that was idle for a while is looked at: the server may have closed it, and
    /// its task may not have run since.
    pub(crate) async fn is_alive(&self) -> bool {
        if self.silence() < IDLE {
            return true;
        }
        for _ in 0..READING.0 {
            match self.socket.peek() {
                Peek::Empty => return !self.is_over(),
                Peek::Closed => return false,
                // A last word of the server's, or an answer to somebody else.
                Peek::Unread => self.clock.sleep(READING.1).await,
            }
        }
        !self.is_over()
    }

    /// Whether it has ended: the server has closed it, it was given up, or its runtime is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.client.is_closed() || self.task.is_finished()
    }

    /// Ends it, with all that is under way on it: what was not delivered by now never is, and what may be on the way is noted.
    pub(crate) fn give_up(&self) {
        if self.unanswered.load(Ordering::SeqCst) > 0
            && let Some(session) = self.session
        {
            self.abandoned.add(session, self.clock.now());
        }
        self.socket.reset();
        self.task.abort();
    }
}

/// If all was answered, its task ends it in good order.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.unanswered.load(Ordering::SeqCst) > 0 {
            self.give_up();
        }
    }
}

fn lock_timeout(time: Duration) -> String {
    format!("SET lock_timeout = {}", time.as_millis().clamp(1, 1 << 30))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}
