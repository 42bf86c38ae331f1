//! Statements on one connection, which is made and replaced as `cache-net` does it.

use std::{sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result, TimeLimit};
use cache_net::{Peer, within};
use tokio::runtime::Handle;
use tokio_postgres::Error as PgError;

use super::{
    connect::{Answer, Connector, Param, Up},
    error::{self, Remedy},
    sql::Ask,
};

/// A place for one connection. Statements of many callers are under way on it at the same time.
#[derive(Debug)]
pub(crate) struct Line {
    line: Arc<cache_net::Line<Server>>,
    /// For those who wait for the connection: making the table, which is part of it, may take longer.
    connect_deadline: TimeLimit,
}

/// Where it leads.
#[derive(Debug)]
struct Server(Arc<Connector>);

/// How often a statement is asked again that the server has not done.
const RETRIES: usize = 5;

impl Line {
    pub(crate) fn new(connector: Arc<Connector>, runtime: Handle) -> Self {
        let clock = connector.clock.clone();
        let deadline = TimeLimit::new(connector.plan.plan.deadline, clock.clone());
        let connect_deadline = TimeLimit::new(connector.plan.connect_deadline, clock.clone());
        let line = cache_net::Line::new(Server(connector), runtime, clock, deadline);
        Self { line, connect_deadline }
    }

    /// Asks, and asks again what the server has not done because of others. All tries together have one deadline, but for
    /// connecting.
    pub(crate) async fn ask(
        &self,
        limit: Option<&TimeLimit>,
        ask: Ask,
        params: &[Param<'_>],
    ) -> Result<Answer> {
        let limit = limit.unwrap_or(self.line.deadline());
        let up = self.up().await?;
        let until = self.connector().clock.now().saturating_add(limit.time());
        match self.heard(limit, &up, up.ask(ask, params)).await? {
            Ok(answer) => Ok(answer),
            Err(failed) => Box::pin(self.ask_again((limit, until), ask, params, failed, up)).await,
        }
    }

    #[cold]
    async fn ask_again(
        &self,
        (limit, mut until): (&TimeLimit, Duration),
        ask: Ask,
        params: &[Param<'_>],
        mut failed: PgError,
        mut up: Arc<Up>,
    ) -> Result<Answer> {
        let clock = &self.connector().clock;
        for _ in 0..RETRIES {
            match error::remedy(&failed) {
                Remedy::Again => {}
                Remedy::Anew => self.line.leave(&up),
                Remedy::Elsewhere => {
                    self.line.renew(Some(&up));
                    break;
                }
                Remedy::None => break,
            }
            let now = clock.now();
            if now >= until {
                break;
            }
            up = self.up().await?;
            until = until.saturating_add(clock.now().saturating_sub(now));
            let left = until.saturating_sub(clock.now());
            let again = self.heard(limit, &up, up.ask(ask, params));
            match within(clock, left, again).await.unwrap_or_else(|| Err(self.unheard(limit)))? {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = error,
            }
        }
        Err(error::of(&failed, &self.connector().address))
    }

    /// Connects, if need be, and asks whether anybody is there.
    pub(crate) async fn check(&self) -> Result<()> {
        self.ask(None, Ask::Ping, &[]).await.map(drop)
    }

    /// The connection. Who waits for it may do so for shorter than it takes.
    async fn up(&self) -> Result<Arc<Up>> {
        match self.line.up_now() {
            Some(up) => Ok(up),
            None => Box::pin(self.connected()).await,
        }
    }

    #[cold]
    async fn connected(&self) -> Result<Arc<Up>> {
        let outcome = self.connect_deadline.run(self.line.up()).await;
        outcome.unwrap_or_else(|| Err(self.connector().too_slow(self.connect_deadline.time())))
    }

    async fn heard(
        &self,
        limit: &TimeLimit,
        up: &Arc<Up>,
        answer: impl Future<Output = Result<Answer, PgError>>,
    ) -> Result<Result<Answer, PgError>> {
        self.line.heard(limit, up, answer).await.ok_or_else(|| self.unheard(limit))
    }

    fn unheard(&self, limit: &TimeLimit) -> Error {
        let what = format!("no answer within {:?}; a write may have had its effect", limit.time());
        error::at(Error::new(ErrorKind::TimedOut, what), &self.connector().address)
    }

    fn connector(&self) -> &Connector {
        &self.line.peer().0
    }
}

impl Peer for Server {
    type Up = Up;

    async fn connect(&self, runtime: &Handle) -> Result<Up> {
        self.0.connect(runtime).await
    }

    async fn knock(&self, up: &Up) {
        // What comes of it is heard.
        let _ = up.ask(Ask::Ping, &[]).await;
    }

    fn is_over(&self, up: &Up) -> bool {
        up.is_over()
    }

    fn give_up(&self, up: &Up) {
        up.give_up();
    }
}
