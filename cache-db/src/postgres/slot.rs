//! One connection of the pool: running statements on it, retrying, replacing it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, store::SharedDeadline};
use cache_net::within;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio_postgres::Error as PgError;

use super::{
    abandoned::Abandoned,
    connection::{Connection, Reply},
    connector::Connector,
    detached::Caller,
    error::{self, Remedy},
    health::Health,
    param::Param,
    statements::Statement,
};

/// A slot for one connection. Statements of many callers are under way on it at the same time.
#[derive(Debug)]
pub(crate) struct Slot {
    inner: Arc<cache_net::ConnectionSlot<SlotConnector>>,
    health: Arc<Health>,
    abandoned: Arc<Abandoned>,
    /// For callers that wait for the connection. Making it may take longer, because it includes
    /// creating the table.
    connect_deadline: SharedDeadline,
    is_failing: AtomicBool,
}

/// Makes the connections of a slot.
#[derive(Debug)]
struct SlotConnector {
    connector: Arc<Connector>,
    lock_wait: Duration,
}

/// How often a statement that the server did not run is sent again.
const RETRIES: usize = 5;
/// The pause before ending sessions is checked again.
const PAUSE: Duration = Duration::from_millis(2);

impl Slot {
    /// Creates a slot whose statements wait at most `lock_wait` for a lock.
    pub(crate) fn new(
        connector: Arc<Connector>,
        health: Arc<Health>,
        runtime: Handle,
        lock_wait: Duration,
    ) -> Self {
        let clock = connector.clock.clone();
        let abandoned = Arc::clone(connector.abandoned());
        let deadline = SharedDeadline::new(connector.plan.plan.deadline, clock.clone());
        let connect_deadline = SharedDeadline::new(connector.plan.connect_deadline, clock.clone());
        let server = SlotConnector { connector, lock_wait };
        let inner = cache_net::ConnectionSlot::new(server, runtime, clock, deadline);
        Self { inner, health, abandoned, connect_deadline, is_failing: AtomicBool::new(false) }
    }

    /// Runs a statement, and runs it again if the server did not run it because of others. One
    /// deadline covers all attempts, except connecting. Returns `None` if a lock of another session
    /// prevented it.
    pub(crate) async fn execute(
        &self,
        connection: Arc<Connection>,
        limit: Option<&SharedDeadline>,
        statement: Statement,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Option<Reply>> {
        let limit = limit.unwrap_or(self.inner.deadline());
        if statement.writes() && self.abandoned.is_any() {
            Box::pin(self.end_abandoned(limit, &connection)).await?;
        }
        if caller.is_cancelled() {
            return Err(cancelled());
        }
        let until = self.health.now().saturating_add(limit.time());
        match self
            .await_answer(limit, &connection, connection.execute(statement, params, caller))
            .await?
        {
            Ok(answer) => answer.ok_or_else(cancelled).map(Some),
            Err(failed) => {
                let again =
                    self.retry((limit, until), (statement, params, caller), failed, connection);
                Box::pin(again).await
            }
        }
    }

    #[cold]
    async fn retry(
        &self,
        (limit, mut until): (&SharedDeadline, Duration),
        (statement, params, caller): (Statement, &[Param], &Caller),
        mut failed: PgError,
        mut connection: Arc<Connection>,
    ) -> Result<Option<Reply>> {
        for _ in 0..RETRIES {
            match error::remedy(&failed) {
                Remedy::WaitForLock => return Ok(None),
                Remedy::Retry => {}
                Remedy::Reconnect => self.inner.retire(&connection),
                Remedy::OtherServer => {
                    self.inner.reconnect(Some(&connection));
                    break;
                }
                Remedy::None => break,
            }
            let now = self.health.now();
            if now >= until || caller.is_cancelled() {
                break;
            }
            connection = self.connected().await?;
            until = until.saturating_add(self.health.now().saturating_sub(now));
            let left = until.saturating_sub(self.health.now());
            let again = self.await_answer(
                limit,
                &connection,
                connection.execute(statement, params, caller),
            );
            let again = within(&self.connector().clock, left, again).await;
            match again.unwrap_or_else(|| Err(self.no_answer(limit)))? {
                Ok(answer) => return answer.ok_or_else(cancelled).map(Some),
                Err(error) => failed = error,
            }
        }
        Err(error::of(&failed, &self.connector().address))
    }

    /// Connects if necessary, and checks that the server answers.
    pub(crate) async fn check(&self, caller: &Caller) -> Result<()> {
        self.execute(self.connected().await?, None, Statement::Ping, &[], caller).await.map(drop)
    }

    /// Returns the open connection, if there is one.
    pub(crate) async fn ready(&self) -> Option<Arc<Connection>> {
        let connection = self.inner.current()?;
        if connection.is_alive().await {
            return Some(connection);
        }
        connection.abort();
        self.inner.retire(&connection);
        None
    }

    /// Whether there is a connection, which may have been lost without a sign.
    pub(crate) fn is_connected(&self) -> bool {
        self.inner.current().is_some()
    }

    /// Whether the last connection attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Starts a connection attempt if one is due, without waiting for it.
    pub(crate) fn try_again(&self) {
        if let Some(Ok(_)) = self.inner.connection().now_or_never() {
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    /// Returns the connection, and makes it if necessary. A caller may stop waiting before it is
    /// made.
    pub(crate) async fn connected(&self) -> Result<Arc<Connection>> {
        if let Some(connection) = self.ready().await {
            return Ok(connection);
        }
        let outcome = Box::pin(self.connect_deadline.run(self.inner.connection())).await;
        self.is_failing.store(!matches!(outcome, Some(Ok(_))), Ordering::Relaxed);
        outcome.unwrap_or_else(|| Err(self.connector().too_slow(self.connect_deadline.time())))
    }

    /// Aborts the connection, and empties the slot if it still holds it.
    pub(crate) fn abort(&self, connection: &Arc<Connection>) {
        connection.abort();
        self.inner.retire(connection);
    }

    /// Ends the sessions that were abandoned with unanswered writes.
    #[cold]
    async fn end_abandoned(
        &self,
        limit: &SharedDeadline,
        connection: &Arc<Connection>,
    ) -> Result<()> {
        let connector = self.connector();
        let (abandoned, clock) = (&self.abandoned, &connector.clock);
        let ending = async {
            let _guard = abandoned.lock_ending().await;
            while abandoned.is_any() {
                let ended = self
                    .await_answer(limit, connection, abandoned.end(&connection.client, clock))
                    .await?;
                ended.map_err(|it| error::of(&it, &connector.address))?;
                if abandoned.is_any() {
                    clock.sleep(PAUSE).await;
                }
            }
            Ok(())
        };
        let time = connector.plan.connect_deadline;
        if let Some(ended) = within(clock, time, Box::pin(ending)).await {
            return ended;
        }
        let what = "an aborted session has not ended at the server yet, so nothing is written; its process may be frozen";
        let error = error::at(Error::new(ErrorKind::TimedOut, what), &connector.address);
        // The server has answered each time.
        Err(error.ignored_by_breaker())
    }

    async fn await_answer<T>(
        &self,
        limit: &SharedDeadline,
        connection: &Arc<Connection>,
        answer: impl Future<Output = Result<T, PgError>>,
    ) -> Result<Result<T, PgError>> {
        let Some(answer) = self.inner.run(limit, connection, answer).await else {
            // The connection was idle for long and now does not answer: a NAT or firewall has
            // probably forgotten it.
            if connection.silence() >= limit.time().saturating_add(self.inner.deadline().time()) {
                self.abort(connection);
            }
            return Err(self.no_answer(limit));
        };
        match &answer {
            // Statements under way may still arrive.
            Err(error) if error.code().is_none() && connection.is_closed() => connection.abort(),
            _ => self.health.record_reply(),
        }
        Ok(answer)
    }

    #[cold]
    fn no_answer(&self, limit: &SharedDeadline) -> Error {
        let what = format!("no answer within {:?}; a write may have taken effect", limit.time());
        let error = error::at(Error::new(ErrorKind::TimedOut, what), &self.connector().address);
        if self.health.suggests_lock(limit.time()) { error.ignored_by_breaker() } else { error }
    }

    fn connector(&self) -> &Connector {
        &self.inner.connector().connector
    }
}

/// Returned to no caller: the call was dropped. It does not count as a failure of the server.
#[cold]
pub(crate) fn cancelled() -> Error {
    let what = "not sent: the caller dropped the call";
    Error::new(ErrorKind::Unavailable, what).ignored_by_breaker()
}

impl cache_net::Connector for SlotConnector {
    type Connection = Connection;

    async fn connect(&self, runtime: &Handle) -> Result<Connection> {
        self.connector.connect(runtime, self.lock_wait).await
    }

    async fn ping(&self, connection: &Connection) {
        // The slot sees the answer itself.
        let _ = connection.execute(Statement::Ping, &[], &Caller::default()).await;
    }

    fn is_closed(&self, connection: &Connection) -> bool {
        connection.is_closed()
    }

    fn abort(&self, connection: &Connection) {
        connection.abort();
    }
}
