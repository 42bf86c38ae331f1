//! One connection that is there when it is needed: made by the first who asks, replaced when it is silent.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result, store::SharedDeadline};
use tokio::runtime::Handle;

use crate::{Attempt, Peek};

/// A place for one connection, and what is known of it. Calls of many callers may be under way on it at the same time.
///
/// All who need a connection while there is none wait for the same attempt; a server that cannot be reached is not tried again at
/// once, and callers are told meanwhile why it failed. A connection on which nothing was heard for a deadline and a fifth of another,
/// although it was asked, is frozen or half open, and is given up. If it was silent before, a NAT or a firewall may have forgotten it, and its first
/// unanswered call ends it. A slow connection in use, or one late answer, replaces nothing.
///
/// ```
/// use std::{future::pending, sync::atomic::{AtomicU32, Ordering}, time::Duration};
///
/// use cache_core::{Clock, Result, store::SharedDeadline};
/// use cache_net::{Line, Peer};
/// use tokio::runtime::Handle;
///
/// /// Its connections are numbers.
/// struct Server(AtomicU32);
///
/// impl Peer for Server {
///     type Up = u32;
///
///     async fn connect(&self, _: &Handle) -> Result<u32> {
///         Ok(self.0.fetch_add(1, Ordering::Relaxed))
///     }
///
///     async fn knock(&self, _: &u32) {}
///     fn is_over(&self, _: &u32) -> bool { false }
///     fn give_up(&self, _: &u32) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let (server, clock) = (Server(AtomicU32::new(0)), Clock::system());
/// let limit = SharedDeadline::new(Duration::from_millis(10), clock.clone());
/// let line = Line::new(server, Handle::current(), clock, limit.clone());
/// let up = line.up().await?;
/// assert_eq!(line.heard(&limit, &up, async { "an answer" }).await, Some("an answer"));
/// assert_eq!(*line.up().await?, 0);
///
/// // Nothing is heard on it any more.
/// for _ in 0..2 {
///     assert_eq!(line.heard(&limit, &up, pending::<()>()).await, None);
/// }
/// assert_eq!(*line.up().await?, 1);
/// # Ok(()) }
/// ```
pub struct Line<P: Peer> {
    peer: P,
    runtime: Handle,
    clock: Clock,
    deadline: SharedDeadline,
    state: Mutex<State<P::Up>>,
    /// How often something was heard.
    answers: AtomicU64,
    /// When something was heard last, in milliseconds.
    heard: AtomicU64,
}

/// Who is at the other end of a [`Line`], and what a connection is there.
pub trait Peer: Send + Sync + 'static {
    /// A connection.
    type Up: Send + Sync + 'static;

    /// Makes one, within its own limit of time. Its tasks are those of this runtime.
    fn connect(&self, runtime: &Handle) -> impl Future<Output = Result<Self::Up>> + Send;

    /// Asks whether anybody is there.
    fn knock(&self, up: &Self::Up) -> impl Future<Output = ()> + Send;

    /// Whether it has ended: the server has closed it, it was given up, or its runtime is gone.
    fn is_over(&self, up: &Self::Up) -> bool;

    /// Ends it, with all that is under way on it. It may have ended by itself before.
    fn give_up(&self, up: &Self::Up);

    /// Looks whether it has ended in a way of which its task has not heard yet: see [`SocketHandle::peek`](crate::SocketHandle::peek).
    fn peek(&self, _up: &Self::Up) -> Peek {
        Peek::Quiet
    }
}

struct State<U> {
    up: Option<Arc<U>>,
    connecting: Option<Attempt<Arc<U>>>,
    /// Why there is none, and until when it is not tried again.
    failed: Option<(Duration, Error)>,
    /// Since when nothing was heard although it was asked.
    silent: Option<Silent>,
    /// When a caller that has another connection last began to connect.
    begun: Option<Duration>,
    /// When it was last left for one that may lead to another server.
    renewed: Option<Duration>,
    /// The store itself asks whether anybody is there.
    knocking: bool,
}

/// A time in which nothing was heard.
#[derive(Clone, Copy)]
struct Silent {
    /// After how many answers.
    after: u64,
    since: Duration,
    /// A call has waited for its whole time.
    unanswered: bool,
}

/// What all wait for who need a connection.
type Connecting<P> = Attempt<Arc<<P as Peer>::Up>>;

/// A call that waits for its answer.
struct Waiting<'a, P: Peer> {
    line: &'a Arc<Line<P>>,
    up: &'a Arc<P::Up>,
    /// After how many answers it was asked.
    before: u64,
    over: bool,
}

/// A connection on which nothing was heard for a deadline and this part of another is frozen or half open, and is replaced. After an
/// unanswered call a breaker gives the next ones as much, and opens if they are not answered, either: a half-open connection to a
/// healthy server should be replaced before.
const SILENCE: u32 = 5;
/// One on which nothing was heard for so many deadlines, the last of them that of its first unanswered call, is replaced at once.
const OLD: u32 = 3;
/// A connection that was idle for so long is looked at before it is used. A server may have closed it while this process stood
/// still, and a call that fails was not even sent.
const IDLE: Duration = Duration::from_millis(10);
/// How often, and how long, the task that reads is waited for, if there are bytes that it has not read.
const READING: (u32, Duration) = (10, Duration::from_millis(1));
/// A server that cannot be reached is tried again after as long as the try took, within these bounds. Until then callers are
/// told at once why it failed: they are not kept waiting, and it is not stormed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

impl<P: Peer> Line<P> {
    /// Connects nowhere yet. What is asked should be answered within the deadline.
    pub fn new(peer: P, runtime: Handle, clock: Clock, deadline: SharedDeadline) -> Arc<Self> {
        let (answers, heard) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { peer, runtime, clock, deadline, state: Mutex::default(), answers, heard })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &P {
        &self.peer
    }

    /// Within what time an answer is expected.
    pub fn deadline(&self) -> &SharedDeadline {
        &self.deadline
    }

    /// The connection. All who need one while there is none wait for the same.
    pub async fn up(self: &Arc<Self>) -> Result<Arc<P::Up>> {
        match self.ready() {
            Some(up) => Ok(up),
            None => Box::pin(self.looked_at()).await,
        }
    }

    /// The connection, if there is one and it need not be looked at before it is used.
    pub fn ready(&self) -> Option<Arc<P::Up>> {
        let is_idle = self.silence(self.clock.coarse()) >= IDLE;
        if is_idle { None } else { self.up_now() }
    }

    /// Begins to connect if there is no connection, and waits for nothing. At most once a second, however often it is called: the
    /// caller has another connection meanwhile.
    pub fn begin(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.up.is_none() {
            if state.begun.is_some_and(|it| now < it + PAUSE.1) {
                return;
            }
            state.begun = Some(now);
        }
        drop(state);
        // What comes of it is known here.
        drop(self.connecting());
    }

    /// The connection, if there is one.
    pub fn up_now(&self) -> Option<Arc<P::Up>> {
        self.lock().up.as_ref().filter(|it| !self.peer.is_over(it)).map(Arc::clone)
    }

    /// The answer within the limit, noting whether there is one. An error is one: something was heard, if only that the connection
    /// has ended.
    pub async fn heard<T>(
        self: &Arc<Self>,
        limit: &SharedDeadline,
        up: &Arc<P::Up>,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let before = self.answers.load(Ordering::Relaxed);
        let mut waiting = Waiting { line: self, up, before, over: false };
        let answer = limit.run(answer).await;
        waiting.over = true;
        if answer.is_some() {
            self.answers.fetch_add(1, Ordering::Relaxed);
            self.note(self.clock.coarse());
        } else {
            self.not_heard(limit, up, before);
        }
        answer
    }

    /// Has the next call connect anew, if this is still the connection. What is under way comes to its end.
    pub fn leave(&self, up: &Arc<P::Up>) {
        let left = self.lock().up.take_if(|it| Arc::ptr_eq(it, up));
        // Not under the lock: what ends with it may take long.
        drop(left);
    }

    /// Has the next call connect anew, to what may be another server by now; if one is given, only if this is still the connection.
    /// What is under way comes to its end. Not more often than who cannot be reached is tried: it may be the same server again.
    pub fn renew(&self, up: Option<&Arc<P::Up>>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.renewed.is_some_and(|it| now < it + PAUSE.1) {
            return;
        }
        state.renewed = Some(now);
        let left = state.up.take_if(|it| up.is_none_or(|up| Arc::ptr_eq(it, up)));
        drop(state);
        drop(left);
    }

    /// Gives the connection up if nothing was heard on it for long.
    #[cold]
    fn not_heard(&self, limit: &SharedDeadline, up: &Arc<P::Up>, before: u64) {
        let mut state = self.lock();
        if self.answers.load(Ordering::Relaxed) != before {
            return;
        }
        let now = self.clock.now();
        let since = match state.silent {
            Some(it) if it.after == before => it.since,
            _ => now.saturating_sub(limit.time()),
        };
        state.silent = Some(Silent { after: before, since, unanswered: true });
        let deadline = self.deadline.time();
        if self.is_silence(now.saturating_sub(since))
            || self.silence(now) >= deadline.saturating_mul(OLD)
        {
            self.give_up(&mut state, up);
        }
    }

    fn give_up(&self, state: &mut State<P::Up>, up: &Arc<P::Up>) {
        self.peer.give_up(up);
        state.silent = None;
        state.up.take_if(|it| Arc::ptr_eq(it, up));
    }

    fn is_silence(&self, time: Duration) -> bool {
        let deadline = self.deadline.time();
        time >= deadline.saturating_add(deadline / SILENCE)
    }

    /// Notes that a call was dropped before its answer. Who never waits for as long as the deadline would never learn that
    /// the connection is dead; so the store asks itself when nothing was heard for long.
    fn left(self: &Arc<Self>, up: &Arc<P::Up>, before: u64) {
        if self.answers.load(Ordering::Relaxed) != before {
            return;
        }
        let mut state = self.lock();
        let now = self.clock.now();
        let silent = match state.silent {
            Some(it) if it.after == before => it,
            _ => Silent { after: before, since: now, unanswered: false },
        };
        state.silent = Some(silent);
        let time = now.saturating_sub(silent.since);
        if silent.unanswered && self.is_silence(time) {
            return self.give_up(&mut state, up);
        }
        if time < self.deadline.time() || state.knocking {
            return;
        }
        state.knocking = true;
        drop(state);
        let (line, up) = (Arc::clone(self), Arc::clone(up));
        self.runtime.spawn(async move {
            // What comes of it is noted there.
            let _ = line.heard(&line.deadline, &up, line.peer.knock(&up)).await;
            line.lock().knocking = false;
        });
    }

    /// The connection, which may have ended unnoticed, or is not there.
    #[cold]
    async fn looked_at(self: &Arc<Self>) -> Result<Arc<P::Up>> {
        for _ in 0..READING.0 {
            let Some(up) = self.up_now() else { break };
            match self.peer.peek(&up) {
                Peek::Quiet => return Ok(up),
                Peek::Unread => self.clock.sleep(READING.1).await,
                Peek::Ended => {
                    self.peer.give_up(&up);
                    self.leave(&up);
                }
            }
        }
        match self.connecting() {
            Ok(up) => Ok(up),
            Err(connecting) => connecting?.outcome().await,
        }
    }

    /// The connection, or else the attempt to make one, or why there is none.
    fn connecting(self: &Arc<Self>) -> Result<Arc<P::Up>, Result<Connecting<P>>> {
        let mut state = self.lock();
        match &state.up {
            Some(up) if !self.peer.is_over(up) => return Ok(Arc::clone(up)),
            Some(up) => {
                self.peer.give_up(up);
                state.up = None;
            }
            None => {}
        }
        Err(match (&state.connecting, &state.failed) {
            (Some(it), _) if !it.is_over() => Ok(it.clone()),
            (_, Some((until, error))) if self.clock.now() < *until => Err(error.clone()),
            _ => Ok(state.connecting.insert(self.connect()).clone()),
        })
    }

    fn connect(self: &Arc<Self>) -> Attempt<Arc<P::Up>> {
        let line = Arc::clone(self);
        Attempt::start(&self.runtime, async move {
            let began = line.clock.now();
            let res = line.peer.connect(&line.runtime).await.map(Arc::new);
            let now = line.clock.now();
            let mut state = line.lock();
            state.silent = None;
            line.note(now);
            match &res {
                Ok(up) => (state.up, state.failed) = (Some(Arc::clone(up)), None),
                Err(error) => {
                    // A server that refuses the password, the database or the table, or that is not trusted, is so the next
                    // time, too.
                    let is_refused = error.kind() == ErrorKind::Backend;
                    let pause = if is_refused { PAUSE.1 } else { now.saturating_sub(began) };
                    state.failed = Some((now + pause.clamp(PAUSE.0, PAUSE.1), error.clone()));
                }
            }
            state.connecting = None;
            res
        })
    }

    /// How long nothing was heard.
    fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    fn note(&self, now: Duration) {
        self.heard.store(now.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State<P::Up>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Peer> Drop for Waiting<'_, P> {
    fn drop(&mut self) {
        if !self.over {
            self.line.left(self.up, self.before);
        }
    }
}

impl<U> Default for State<U> {
    fn default() -> Self {
        Self {
            up: None,
            connecting: None,
            failed: None,
            silent: None,
            begun: None,
            renewed: None,
            knocking: false,
        }
    }
}

impl<P: Peer> fmt::Debug for Line<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_up = self.up_now().is_some();
        f.debug_struct("Line").field("is_up", &is_up).finish_non_exhaustive()
    }
}
