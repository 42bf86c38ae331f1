//! A connection that is logged in: sending statements, closing, aborting.

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
    abandoned::{Abandoned, CURRENT_SESSION, Session},
    address::Address,
    detached::Caller,
    error,
    param::Param,
    statements::{COUNT, Statement},
    transport::Link,
};
use crate::{
    options::{Notify, PostgresPlan},
    table::Table,
};

/// A connection, its prepared statements, and the task that drives its I/O.
pub(crate) struct Connection {
    pub(crate) client: Client,
    socket: SocketHandle,
    table: Table,
    /// Whether its writes notify.
    notifies: bool,
    statements: [OnceCell<Prepared>; COUNT],
    task: AbortHandle,
    clock: Clock,
    session: Option<Session>,
    abandoned: Arc<Abandoned>,
    /// Writes that were sent and not answered.
    unanswered: AtomicUsize,
    /// When the server last sent something, in milliseconds of the clock.
    last_heard: AtomicU64,
}

/// The result of a statement.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<Row>,
    /// How many rows it wrote or removed.
    pub(crate) count: u64,
}

/// The statements need `read committed`, where a statement that meets another one waits and goes
/// on. Generic plans are made once, possibly while the table is empty, and must not be those for an
/// empty table.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
                       SET enable_seqscan = off; SET jit = off";
/// After so long without an answer, peeking at the socket costs little compared to what it saves.
const IDLE: Duration = Duration::from_millis(20);
/// How long to wait for the I/O task to read what the server sent last.
const READ_WAIT: (u32, Duration) = (20, Duration::from_millis(1));

impl Connection {
    /// Wraps a connection. A task of this runtime drives its I/O.
    pub(crate) fn new(
        link: Link,
        runtime: &Handle,
        plan: &PostgresPlan,
        clock: Clock,
        abandoned: Arc<Abandoned>,
    ) -> Self {
        Self {
            client: link.client,
            socket: link.socket,
            table: plan.plan.table.clone(),
            notifies: plan.notify == Notify::ByStatements,
            statements: std::array::from_fn(|_| OnceCell::new()),
            task: runtime.spawn(link.io_task).abort_handle(),
            last_heard: AtomicU64::new(millis(clock.now())),
            clock,
            session: None,
            abandoned,
            unanswered: AtomicUsize::new(0),
        }
    }

    /// Sets the session up, whatever the server's settings are, and reads its identity.
    pub(crate) async fn set_up(
        &mut self,
        lock_wait: Duration,
        address: &Address,
    ) -> Result<(), Error> {
        let sql = format!("{}; {SESSION}; {CURRENT_SESSION}", lock_timeout(lock_wait));
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

    /// Sends a statement, and prepares it first if necessary. Other statements may be under way.
    /// Returns `None`, without sending, if the caller has left.
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
        // Boxed, because each future around it would reserve room for it twice.
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
        let is_answered = match &answer {
            Ok(it) => it.is_some(),
            Err(error) => PgError::code(error).is_some(),
        };
        if is_answered {
            self.last_heard.store(millis(self.clock.now()), Ordering::Relaxed);
            if statement.writes() {
                self.unanswered.fetch_sub(1, Ordering::SeqCst);
                caller.set_unanswered(false);
            }
        }
        answer
    }

    async fn prepare(&self, statement: Statement) -> Result<&Prepared, PgError> {
        let sql = || statement.sql(&self.table, self.notifies);
        let prepare = || async { self.client.prepare(&sql()).await };
        self.statements[statement as usize].get_or_try_init(prepare).await
    }

    /// Returns how long the server has sent nothing.
    pub(crate) fn silence(&self) -> Duration {
        let last_heard = Duration::from_millis(self.last_heard.load(Ordering::Relaxed));
        self.clock.now().saturating_sub(last_heard)
    }

    /// Whether the connection is open, as far as this machine knows. Peeks at the socket of a
    /// connection that was idle: the server may have closed it before the I/O task could notice.
    pub(crate) async fn is_alive(&self) -> bool {
        if self.silence() < IDLE {
            return true;
        }
        for _ in 0..READ_WAIT.0 {
            match self.socket.peek() {
                Peek::Empty => return !self.is_closed(),
                Peek::Closed => return false,
                // A last message of the server, or an answer for another call.
                Peek::Unread => self.clock.sleep(READ_WAIT.1).await,
            }
        }
        !self.is_closed()
    }

    /// Whether the connection has ended: closed by the server, aborted, or its runtime has shut
    /// down.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.task.is_finished()
    }

    /// Aborts the connection with everything under way. Undelivered bytes are never delivered; if a
    /// write may be on the way, the session is recorded.
    pub(crate) fn abort(&self) {
        if self.unanswered.load(Ordering::SeqCst) > 0
            && let Some(session) = self.session
        {
            self.abandoned.add(session, self.clock.now());
        }
        self.socket.reset();
        self.task.abort();
    }
}

/// If all writes were answered, the I/O task closes the connection in good order.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.unanswered.load(Ordering::SeqCst) > 0 {
            self.abort();
        }
    }
}

/// Returns the SQL that sets how long statements wait for locks.
pub(crate) fn lock_timeout(time: Duration) -> String {
    format!("SET lock_timeout = {}", time.as_millis().clamp(1, 1 << 30))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
