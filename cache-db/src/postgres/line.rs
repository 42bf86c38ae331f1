//! Statements on one connection, which is made and replaced as `cache-net` does it.

use std::{sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result, TimeLimit};
use cache_net::{Peer, within};
use tokio::runtime::Handle;
use tokio_postgres::Error as PgError;

use super::{
    call::Caller,
    connect::{Answer, Connector, Up},
    error::{self, Remedy},
    health::Health,
    param::Param,
    sql::Ask,
};

/// A place for one connection. Statements of many callers are under way on it at the same time.
#[derive(Debug)]
pub(crate) struct Line {
    inner: Arc<cache_net::Line<Server>>,
    health: Arc<Health>,
    /// For those who wait for the connection: making the table, which is part of it, may take longer.
    connect_deadline: TimeLimit,
}

/// Where it leads.
#[derive(Debug)]
struct Server {
    connector: Arc<Connector>,
    lock_wait: Duration,
}

/// How often a statement is asked again that the server has not done.
const RETRIES: usize = 5;

impl Line {
    /// One whose statements wait for a lock no longer than `lock_wait`.
    pub(crate) fn new(
        connector: Arc<Connector>,
        health: Arc<Health>,
        runtime: Handle,
        lock_wait: Duration,
    ) -> Self {
        let clock = connector.clock.clone();
        let deadline = TimeLimit::new(connector.plan.plan.deadline, clock.clone());
        let connect_deadline = TimeLimit::new(connector.plan.connect_deadline, clock.clone());
        let server = Server { connector, lock_wait };
        let inner = cache_net::Line::new(server, runtime, clock, deadline);
        Self { inner, health, connect_deadline }
    }

    /// Asks, and asks again what the server has not done because of others. All tries together have one deadline, but for
    /// connecting. `None` if nothing was done because another session holds a lock.
    pub(crate) async fn ask(
        &self,
        limit: Option<&TimeLimit>,
        ask: Ask,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Option<Answer>> {
        let limit = limit.unwrap_or(self.inner.deadline());
        let up = self.up().await?;
        let until = self.health.now().saturating_add(limit.time());
        match self.heard(limit, &up, up.ask(ask, params, caller)).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(failed) => {
                let again = self.ask_again((limit, until), (ask, params, caller), failed, up);
                Box::pin(again).await
            }
        }
    }

    #[cold]
    async fn ask_again(
        &self,
        (limit, mut until): (&TimeLimit, Duration),
        (ask, params, caller): (Ask, &[Param], &Caller),
        mut failed: PgError,
        mut up: Arc<Up>,
    ) -> Result<Option<Answer>> {
        for _ in 0..RETRIES {
            match error::remedy(&failed) {
                Remedy::Wait => return Ok(None),
                Remedy::Again => {}
                Remedy::Anew => self.inner.leave(&up),
                Remedy::Elsewhere => {
                    self.inner.renew(Some(&up));
                    break;
                }
                Remedy::None => break,
            }
            let now = self.health.now();
            if now >= until || caller.is_gone() {
                break;
            }
            up = self.up().await?;
            until = until.saturating_add(self.health.now().saturating_sub(now));
            let left = until.saturating_sub(self.health.now());
            let again = self.heard(limit, &up, up.ask(ask, params, caller));
            let again = within(&self.connector().clock, left, again).await;
            match again.unwrap_or_else(|| Err(self.unheard(limit)))? {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => failed = error,
            }
        }
        Err(error::of(&failed, &self.connector().address))
    }

    /// Connects, if need be, and asks whether anybody is there.
    pub(crate) async fn check(&self, caller: &Caller) -> Result<()> {
        self.ask(None, Ask::Ping, &[], caller).await.map(drop)
    }

    /// The connection. Who waits for it may do so for shorter than it takes.
    async fn up(&self) -> Result<Arc<Up>> {
        match self.inner.up_now() {
            Some(up) => Ok(up),
            None => Box::pin(self.connected()).await,
        }
    }

    #[cold]
    async fn connected(&self) -> Result<Arc<Up>> {
        let outcome = self.connect_deadline.run(self.inner.up()).await;
        outcome.unwrap_or_else(|| Err(self.connector().too_slow(self.connect_deadline.time())))
    }

    async fn heard(
        &self,
        limit: &TimeLimit,
        up: &Arc<Up>,
        answer: impl Future<Output = Result<Answer, PgError>>,
    ) -> Result<Result<Answer, PgError>> {
        let answer = self.inner.heard(limit, up, answer).await;
        if answer.is_some() {
            self.health.answered();
        }
        answer.ok_or_else(|| self.unheard(limit))
    }

    #[cold]
    fn unheard(&self, limit: &TimeLimit) -> Error {
        let what = format!("no answer within {:?}; a write may have had its effect", limit.time());
        let error = error::at(Error::new(ErrorKind::TimedOut, what), &self.connector().address);
        if self.health.explains(limit.time()) { error.ignored_by_breaker() } else { error }
    }

    fn connector(&self) -> &Connector {
        &self.inner.peer().connector
    }
}

impl Peer for Server {
    type Up = Up;

    async fn connect(&self, runtime: &Handle) -> Result<Up> {
        self.connector.connect(runtime, self.lock_wait).await
    }

    async fn knock(&self, up: &Up) {
        // What comes of it is heard.
        let _ = up.ask(Ask::Ping, &[], &Caller::default()).await;
    }

    fn is_over(&self, up: &Up) -> bool {
        up.is_over()
    }

    fn give_up(&self, up: &Up) {
        up.give_up();
    }
}
