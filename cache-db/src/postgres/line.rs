//! One connection that is there when it is needed: made by the first who asks, replaced when it is silent.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, TimeLimit};
use tokio::runtime::Handle;
use tokio_postgres::Error as PgError;

use super::{
    connect::{Answer, Connector, Param, SharedUp, Up},
    error::{self, Remedy},
    sql::Ask,
    wait::{Attempt, within},
};

/// A place for one connection, and what is known of it. Statements of many callers are under way on it at the same time.
#[derive(Debug)]
pub(crate) struct Line {
    connector: Arc<Connector>,
    runtime: Handle,
    deadline: TimeLimit,
    /// For those who wait for the connection: making the table, which is part of it, may take longer.
    connect_deadline: TimeLimit,
    state: Mutex<State>,
    /// How often something was heard.
    answers: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    up: Option<SharedUp>,
    connecting: Option<Attempt<SharedUp>>,
    /// Why there is none, and until when it is not tried again.
    failed: Option<(Duration, Error)>,
    /// After how many answers, and since when, nothing was heard although it was asked.
    silent: Option<(u64, Duration)>,
    /// When it was last left for one that may lead to another server.
    left: Option<Duration>,
    /// The store itself asks whether anybody is there.
    knocking: bool,
}

/// A call that waits for its answer.
struct Waiting<'a> {
    line: &'a Arc<Line>,
    up: &'a SharedUp,
    /// After how many answers it was asked.
    before: u64,
    over: bool,
}

/// A connection on which nothing was heard for so many deadlines is frozen or half open, and is replaced.
const SILENCE: u32 = 2;
/// A server that cannot be reached is tried again after as long as the try took, within these bounds. Until then callers are
/// told at once why it failed: they are not kept waiting, and it is not stormed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How often a statement is asked again that the server has not done.
const RETRIES: usize = 5;

impl Line {
    pub(crate) fn new(connector: Arc<Connector>, runtime: Handle) -> Arc<Self> {
        let deadline = TimeLimit::new(connector.plan.plan.deadline, connector.clock.clone());
        let connect_deadline =
            TimeLimit::new(connector.plan.connect_deadline, connector.clock.clone());
        let (state, answers) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { connector, runtime, deadline, connect_deadline, state, answers })
    }

    /// Asks, and asks again what the server has not done because of others. All tries together have one deadline, but for
    /// connecting.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        limit: Option<&TimeLimit>,
        ask: Ask,
        params: &[Param<'_>],
    ) -> Result<Answer> {
        let limit = limit.unwrap_or(&self.deadline);
        let up = self.up().await?;
        let until = self.connector.clock.now().saturating_add(limit.time());
        match self.heard(limit, &up, up.ask(ask, params)).await? {
            Ok(answer) => Ok(answer),
            Err(failed) => Box::pin(self.ask_again((limit, until), ask, params, failed, up)).await,
        }
    }

    #[cold]
    async fn ask_again(
        self: &Arc<Self>,
        (limit, mut until): (&TimeLimit, Duration),
        ask: Ask,
        params: &[Param<'_>],
        mut failed: PgError,
        mut up: SharedUp,
    ) -> Result<Answer> {
        let clock = &self.connector.clock;
        for _ in 0..RETRIES {
            match error::remedy(&failed) {
                Remedy::Again => {}
                Remedy::Anew => self.leave(&up),
                Remedy::Elsewhere => {
                    self.look_elsewhere(&up);
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
        Err(error::of(&failed, &self.connector.address))
    }

    /// Connects, if need be, and asks whether anybody is there.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<()> {
        self.ask(None, Ask::Ping, &[]).await.map(drop)
    }

    /// The answer within the limit, noting whether there is one.
    async fn heard(
        self: &Arc<Self>,
        limit: &TimeLimit,
        up: &SharedUp,
        answer: impl Future<Output = Result<Answer, PgError>>,
    ) -> Result<Result<Answer, PgError>> {
        let before = self.answers.load(Ordering::Relaxed);
        let mut waiting = Waiting { line: self, up, before, over: false };
        let answer = limit.run(answer).await;
        waiting.over = true;
        match answer {
            Some(answer) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                Ok(answer)
            }
            None => Err(self.not_heard(limit, up, before)),
        }
    }

    /// Has the next call connect anew. What is under way comes to its end.
    fn leave(&self, up: &SharedUp) {
        let left = self.lock().up.take_if(|it| Arc::ptr_eq(it, up));
        drop(left);
    }

    /// Has the next call connect anew, but not more often than who cannot be reached is tried: it may be the same server again.
    fn look_elsewhere(&self, up: &SharedUp) {
        let now = self.connector.clock.now();
        {
            let mut state = self.lock();
            if state.left.is_some_and(|it| now < it + PAUSE.1) {
                return;
            }
            state.left = Some(now);
        }
        self.leave(up);
    }

    /// Gives the connection up if nothing was heard on it for long.
    #[cold]
    fn not_heard(&self, limit: &TimeLimit, up: &SharedUp, before: u64) -> Error {
        let deadline = self.deadline.time();
        let mut state = self.lock();
        if self.answers.load(Ordering::Relaxed) == before {
            let now = self.connector.clock.now();
            let since = match state.silent {
                Some((answers, since)) if answers == before => since,
                _ => now.saturating_sub(limit.time()),
            };
            state.silent = Some((before, since));
            if now.saturating_sub(since) >= deadline.saturating_mul(SILENCE) {
                up.give_up();
                state.silent = None;
                state.up.take_if(|it| Arc::ptr_eq(it, up));
            }
        }
        self.unheard(limit)
    }

    fn unheard(&self, limit: &TimeLimit) -> Error {
        let what = format!("no answer within {:?}; a write may have had its effect", limit.time());
        error::at(Error::new(ErrorKind::TimedOut, what), &self.connector.address)
    }

    /// Notes that a call was dropped before its answer. Who never waits for as long as the deadline would never learn that
    /// the connection is dead; so the store asks itself when nothing was heard for long.
    fn left(self: &Arc<Self>, up: &SharedUp, before: u64) {
        if self.answers.load(Ordering::Relaxed) != before {
            return;
        }
        let mut state = self.lock();
        let now = self.connector.clock.now();
        let since = match state.silent {
            Some((answers, since)) if answers == before => since,
            _ => now,
        };
        state.silent = Some((before, since));
        if now.saturating_sub(since) < self.deadline.time() || state.knocking {
            return;
        }
        state.knocking = true;
        drop(state);
        let (line, up) = (Arc::clone(self), Arc::clone(up));
        self.runtime.spawn(async move {
            // What comes of it is noted there.
            let _ = line.heard(&line.deadline, &up, up.ask(Ask::Ping, &[])).await;
            line.lock().knocking = false;
        });
    }

    /// The connection. All who need one while there is none wait for the same.
    async fn up(self: &Arc<Self>) -> Result<SharedUp> {
        if let Some(up) = &self.lock().up
            && !up.is_over()
        {
            return Ok(Arc::clone(up));
        }
        Box::pin(self.connected()).await
    }

    #[cold]
    async fn connected(self: &Arc<Self>) -> Result<SharedUp> {
        let connecting = {
            let mut state = self.lock();
            match &state.up {
                Some(up) if !up.is_over() => return Ok(Arc::clone(up)),
                _ => state.up = None,
            }
            match (&state.connecting, &state.failed) {
                (Some(it), _) if !it.is_over() => it.clone(),
                (_, Some((until, error))) if self.connector.clock.now() < *until => {
                    return Err(error.clone());
                }
                _ => state.connecting.insert(self.connect()).clone(),
            }
        };
        let outcome = self.connect_deadline.run(connecting.outcome()).await;
        outcome.unwrap_or_else(|| Err(self.connector.too_slow(self.connect_deadline.time())))
    }

    fn connect(self: &Arc<Self>) -> Attempt<SharedUp> {
        let line = Arc::clone(self);
        Attempt::start(&self.runtime, async move {
            let clock = &line.connector.clock;
            let began = clock.now();
            let res = line.connector.connect(&line.runtime).await.map(Arc::<Up>::new);
            let now = clock.now();
            let mut state = line.lock();
            state.silent = None;
            match &res {
                Ok(up) => (state.up, state.failed) = (Some(Arc::clone(up)), None),
                Err(error) => {
                    // A server that refuses the password, the database or the table does so the next time, too.
                    let is_refused = error.kind() == ErrorKind::Backend;
                    let pause = if is_refused { PAUSE.1 } else { now.saturating_sub(began) };
                    state.failed = Some((now + pause.clamp(PAUSE.0, PAUSE.1), error.clone()));
                }
            }
            state.connecting = None;
            res
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.line.left(self.up, self.before);
        }
    }
}
