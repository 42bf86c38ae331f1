//! Statements on one connection, which is made and replaced as `cache-net` does it.

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

/// A place for one connection. Statements of many callers are under way on it at the same time.
#[derive(Debug)]
pub(crate) struct Slot {
    inner: Arc<cache_net::ConnectionSlot<SlotConnector>>,
    health: Arc<Health>,
    abandoned: Arc<Abandoned>,
    /// For those who wait for the connection: making the table, which is part of it, may take longer.
    connect_deadline: SharedDeadline,
    is_failing: AtomicBool,
}

/// Where it leads.
#[derive(Debug)]
struct SlotConnector {
    connector: Arc<Connector>,
    lock_wait: Duration,
}

/// How often a statement is asked again that the server has not done.
const RETRIES: usize = 5;
/// How long a session that was told to end is left alone.
const PAUSE: Duration = Duration::from_millis(2);

impl Slot {
    /// One whose statements wait for a lock no longer than `lock_wait`.
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

    /// Asks, and asks again what the server has not done because of others. All tries together have one deadline, but for
    /// connecting. `None` if nothing was done because another session holds a lock.
    pub(crate) async fn execute(
        &self,
        up: Arc<Connection>,
        limit: Option<&SharedDeadline>,
        statement: Statement,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Option<Reply>> {
        let limit = limit.unwrap_or(self.inner.deadline());
        if statement.writes() && self.abandoned.is_any() {
            Box::pin(self.end_abandoned(limit, &up)).await?;
        }
        if caller.is_cancelled() {
            return Err(cancelled());
        }
        let until = self.health.now().saturating_add(limit.time());
        match self.heard(limit, &up, up.execute(statement, params, caller)).await? {
            Ok(answer) => answer.ok_or_else(cancelled).map(Some),
            Err(failed) => {
                let again = self.retry((limit, until), (statement, params, caller), failed, up);
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
        mut up: Arc<Connection>,
    ) -> Result<Option<Reply>> {
        for _ in 0..RETRIES {
            match error::remedy(&failed) {
                Remedy::WaitForLock => return Ok(None),
                Remedy::Retry => {}
                Remedy::Reconnect => self.inner.retire(&up),
                Remedy::OtherServer => {
                    self.inner.reconnect(Some(&up));
                    break;
                }
                Remedy::None => break,
            }
            let now = self.health.now();
            if now >= until || caller.is_cancelled() {
                break;
            }
            up = self.connected().await?;
            until = until.saturating_add(self.health.now().saturating_sub(now));
            let left = until.saturating_sub(self.health.now());
            let again = self.heard(limit, &up, up.execute(statement, params, caller));
            let again = within(&self.connector().clock, left, again).await;
            match again.unwrap_or_else(|| Err(self.unheard(limit)))? {
                Ok(answer) => return answer.ok_or_else(cancelled).map(Some),
                Err(error) => failed = error,
            }
        }
        Err(error::of(&failed, &self.connector().address))
    }

    /// Connects, if need be, and asks whether anybody is there.
    pub(crate) async fn check(&self, caller: &Caller) -> Result<()> {
        self.execute(self.connected().await?, None, Statement::Ping, &[], caller).await.map(drop)
    }

    /// The connection, if there is one.
    pub(crate) async fn ready(&self) -> Option<Arc<Connection>> {
        let up = self.inner.current()?;
        if up.is_alive().await {
            return Some(up);
        }
        up.give_up();
        self.inner.retire(&up);
        None
    }

    /// Whether the last attempt to connect has failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Has a connection made again if it is time, without waiting for it.
    pub(crate) fn try_again(&self) {
        if let Some(Ok(_)) = self.inner.connection().now_or_never() {
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    /// The connection, made if need be. Who waits for it may do so for shorter than it takes.
    pub(crate) async fn connected(&self) -> Result<Arc<Connection>> {
        if let Some(up) = self.ready().await {
            return Ok(up);
        }
        let outcome = Box::pin(self.connect_deadline.run(self.inner.connection())).await;
        self.is_failing.store(!matches!(outcome, Some(Ok(_))), Ordering::Relaxed);
        outcome.unwrap_or_else(|| Err(self.connector().too_slow(self.connect_deadline.time())))
    }

    /// Gives the connection up, if it is still the one of this place.
    pub(crate) fn give_up(&self, up: &Arc<Connection>) {
        up.give_up();
        self.inner.retire(up);
    }

    /// Has sessions ended that were given up with writes under way.
    #[cold]
    async fn end_abandoned(&self, limit: &SharedDeadline, up: &Arc<Connection>) -> Result<()> {
        let connector = self.connector();
        let (abandoned, clock) = (&self.abandoned, &connector.clock);
        let ending = async {
            let _turn = abandoned.turn().await;
            while abandoned.is_any() {
                let ended = self.heard(limit, up, abandoned.end(&up.client, clock)).await?;
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
        let what = "a session that was given up has not ended yet at the server; its process may be frozen";
        let error = error::at(Error::new(ErrorKind::TimedOut, what), &connector.address);
        // Each time the server has answered.
        Err(error.ignored_by_breaker())
    }

    async fn heard<T>(
        &self,
        limit: &SharedDeadline,
        up: &Arc<Connection>,
        answer: impl Future<Output = Result<T, PgError>>,
    ) -> Result<Result<T, PgError>> {
        let Some(answer) = self.inner.run(limit, up, answer).await else {
            // It was idle for long, and now there is no answer: something on the way has forgotten it.
            if up.silence() >= limit.time().saturating_add(self.inner.deadline().time()) {
                self.give_up(up);
            }
            return Err(self.unheard(limit));
        };
        match &answer {
            // What was under way may still arrive.
            Err(error) if error.code().is_none() && up.is_over() => up.give_up(),
            _ => self.health.record_reply(),
        }
        Ok(answer)
    }

    #[cold]
    fn unheard(&self, limit: &SharedDeadline) -> Error {
        let what = format!("no answer within {:?}; a write may have had its effect", limit.time());
        let error = error::at(Error::new(ErrorKind::TimedOut, what), &self.connector().address);
        if self.health.suggests_lock(limit.time()) { error.ignored_by_breaker() } else { error }
    }

    fn connector(&self) -> &Connector {
        &self.inner.connector().connector
    }
}

/// For nobody: the call ends at once, and is no failure of the server.
#[cold]
fn cancelled() -> Error {
    let what = "nothing was sent, because the caller has dropped the call";
    Error::new(ErrorKind::Unavailable, what).ignored_by_breaker()
}

impl cache_net::Connector for SlotConnector {
    type Connection = Connection;

    async fn connect(&self, runtime: &Handle) -> Result<Connection> {
        self.connector.connect(runtime, self.lock_wait).await
    }

    async fn ping(&self, up: &Connection) {
        // What comes of it is heard.
        let _ = up.execute(Statement::Ping, &[], &Caller::default()).await;
    }

    fn is_closed(&self, up: &Connection) -> bool {
        up.is_over()
    }

    fn abort(&self, up: &Connection) {
        up.give_up();
    }
}
