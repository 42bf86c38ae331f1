//! One connection that is there when it is needed: made by the first who asks, replaced when it is silent.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result, TimeLimit};
use redis::{Pipeline, RedisFuture, Value, aio::ConnectionLike as _};
use tokio::runtime::Handle;

use crate::{
    address::Address,
    command::{Commands, command},
    connect::{Connector, Lost, Up},
    error,
    wait::Attempt,
};

/// A place for one connection, and what is known of it.
#[derive(Debug)]
pub(crate) struct Line {
    address: Address,
    connector: Arc<Connector>,
    runtime: Handle,
    deadline: TimeLimit,
    clock: Clock,
    lost: Lost,
    state: Mutex<State>,
    /// How often something was heard.
    answers: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    up: Option<Arc<Up>>,
    connecting: Option<Attempt<Arc<Up>>>,
    /// Why there is none, and until when it is not tried again.
    failed: Option<(Duration, Error)>,
    /// After how many answers, and since when, nothing was heard although it was asked.
    silent: Option<(u64, Duration)>,
    /// When it was last left for a new one.
    renewed: Option<Duration>,
    /// The store itself asks whether anybody is there.
    knocking: bool,
}

/// A call that waits for its answer.
struct Waiting<'a> {
    line: &'a Arc<Line>,
    up: &'a Arc<Up>,
    /// After how many answers it was asked.
    before: u64,
    over: bool,
}

/// A connection on which nothing was heard for so many deadlines is frozen or half open, and is replaced.
const SILENCE: u32 = 2;
/// A server that cannot be reached is tried again after as long as the try took, within these bounds. Until then callers are
/// told at once why it failed: they are not kept waiting, and it is not stormed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

impl Line {
    pub(crate) fn new(
        address: Address,
        connector: Arc<Connector>,
        runtime: Handle,
        deadline: Duration,
        lost: Lost,
    ) -> Arc<Self> {
        let clock = connector.clock.clone();
        let deadline = TimeLimit::new(deadline, clock.clone());
        let (state, answers) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { address, connector, runtime, deadline, clock, lost, state, answers })
    }

    /// Asks about one key.
    pub(crate) async fn ask(self: &Arc<Self>, commands: &Commands) -> Result<Value> {
        match commands {
            Commands::One(command) => {
                let up = self.up().await?;
                let mut connection = up.connection.clone();
                // Boxed by the crate: large, it would be copied from frame to frame of this future.
                self.heard(&up, connection.req_packed_command(command)).await
            }
            Commands::Together(_) => Box::pin(self.ask_together(commands, false)).await,
        }
    }

    /// Asks about a key that is on its way here.
    pub(crate) async fn ask_arriving(self: &Arc<Self>, commands: &Commands) -> Result<Value> {
        self.ask_together(commands, true).await
    }

    /// Sends all at once; a reply for each command.
    pub(crate) async fn send(self: &Arc<Self>, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let up = self.up().await?;
        let mut connection = up.connection.clone();
        self.heard(&up, connection.req_packed_commands(pipeline, 0, pipeline.len())).await
    }

    /// Has the next call connect anew, which looks up the name of the server again: it may be another one by now. What is under
    /// way comes to its end. Not more often than who cannot be reached is tried.
    pub(crate) fn renew(&self) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.renewed.is_none_or(|it| now >= it + PAUSE.1) {
            state.renewed = Some(now);
            state.up = None;
        }
    }

    async fn ask_together(self: &Arc<Self>, commands: &Commands, asking: bool) -> Result<Value> {
        let mut pipeline = Pipeline::new();
        if asking {
            pipeline.cmd("ASKING");
        }
        let wanted = commands.clone().add_to(&mut pipeline);
        let replies = self.send(&pipeline).await?;
        Ok(wanted.value(replies.into_iter().skip(usize::from(asking))))
    }

    /// The answer within the deadline, noting whether there is one.
    async fn heard<T>(self: &Arc<Self>, up: &Arc<Up>, answer: RedisFuture<'_, T>) -> Result<T> {
        let before = self.answers.load(Ordering::Relaxed);
        let mut waiting = Waiting { line: self, up, before, over: false };
        let answer = self.deadline.run(answer).await;
        waiting.over = true;
        match answer {
            Some(Ok(value)) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                Ok(value)
            }
            Some(Err(error)) => Err(error::lost(&error, &self.address)),
            None => Err(self.not_heard(up, before)),
        }
    }

    /// Gives the connection up if nothing was heard on it for long.
    #[cold]
    fn not_heard(&self, up: &Arc<Up>, before: u64) -> Error {
        let deadline = self.deadline.time();
        let mut state = self.lock();
        if self.answers.load(Ordering::Relaxed) == before {
            let now = self.clock.now();
            let since = match state.silent {
                Some((answers, since)) if answers == before => since,
                _ => now.saturating_sub(deadline),
            };
            state.silent = Some((before, since));
            if now.saturating_sub(since) >= deadline * SILENCE {
                up.give_up();
                self.lost.store(true, Ordering::Release);
                state.silent = None;
                state.up.take_if(|it| Arc::ptr_eq(it, up));
            }
        }
        let what = format!("no answer within {deadline:?}; a write may have had its effect");
        error::at(Error::new(ErrorKind::TimedOut, what), &self.address)
    }

    /// Notes that a call was dropped before its answer. Who never waits for as long as the deadline would never learn that
    /// the connection is dead; so the store asks itself when nothing was heard for long.
    fn left(self: &Arc<Self>, up: &Arc<Up>, before: u64) {
        if self.answers.load(Ordering::Relaxed) != before {
            return;
        }
        let mut state = self.lock();
        let now = self.clock.now();
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
            let mut connection = up.connection.clone();
            // What comes of it is noted there.
            let _ = line.heard(&up, connection.req_packed_command(&command(&["PING"]))).await;
            line.lock().knocking = false;
        });
    }

    /// The connection. All who need one while there is none wait for the same.
    async fn up(self: &Arc<Self>) -> Result<Arc<Up>> {
        if let Some(up) = &self.lock().up
            && !up.is_over()
        {
            return Ok(Arc::clone(up));
        }
        Box::pin(self.connected()).await
    }

    #[cold]
    async fn connected(self: &Arc<Self>) -> Result<Arc<Up>> {
        let connecting = {
            let mut state = self.lock();
            match &state.up {
                Some(up) if !up.is_over() => return Ok(Arc::clone(up)),
                _ => state.up = None,
            }
            match (&state.connecting, &state.failed) {
                (Some(it), _) if !it.is_over() => it.clone(),
                (_, Some((until, error))) if self.clock.now() < *until => return Err(error.clone()),
                _ => state.connecting.insert(self.connect()).clone(),
            }
        };
        connecting.outcome().await
    }

    fn connect(self: &Arc<Self>) -> Attempt<Arc<Up>> {
        let line = Arc::clone(self);
        Attempt::start(&self.runtime, async move {
            let began = line.clock.now();
            let res =
                line.connector.connect(&line.runtime, &line.address, Arc::clone(&line.lost)).await;
            let res = res.map(Arc::new);
            let now = line.clock.now();
            let mut state = line.lock();
            state.silent = None;
            match &res {
                Ok(up) => (state.up, state.failed) = (Some(Arc::clone(up)), None),
                Err(error) => {
                    // A server that refuses the password or the database, or that is not trusted, is so the next time, too.
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
