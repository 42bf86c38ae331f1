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
/// use cache_core::{Clock, Result, TimeLimit};
/// use cache_net::{ConnectionSlot, Connector};
/// use tokio::runtime::Handle;
///
/// /// Its connections are numbers.
/// struct Server(AtomicU32);
///
/// impl Connector for Server {
///     type Connection = u32;
///
///     async fn connect(&self, _: &Handle) -> Result<u32> {
///         Ok(self.0.fetch_add(1, Ordering::Relaxed))
///     }
///
///     async fn ping(&self, _: &u32) {}
///     fn is_closed(&self, _: &u32) -> bool { false }
///     fn abort(&self, _: &u32) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let (server, clock) = (Server(AtomicU32::new(0)), Clock::system());
/// let limit = TimeLimit::new(Duration::from_millis(10), clock.clone());
/// let slot = ConnectionSlot::new(server, Handle::current(), clock, limit.clone());
/// let connection = slot.connection().await?;
/// assert_eq!(slot.run(&limit, &connection, async { "an answer" }).await, Some("an answer"));
/// assert_eq!(*slot.connection().await?, 0);
///
/// // Nothing is heard on it any more.
/// for _ in 0..2 {
///     assert_eq!(slot.run(&limit, &connection, pending::<()>()).await, None);
/// }
/// assert_eq!(*slot.connection().await?, 1);
/// # Ok(()) }
/// ```
pub struct ConnectionSlot<P: Connector> {
    connector: P,
    runtime: Handle,
    clock: Clock,
    deadline: TimeLimit,
    state: Mutex<State<P::Connection>>,
    /// How often something was heard.
    replies: AtomicU64,
    /// When something was heard last, in milliseconds.
    last_reply: AtomicU64,
}

/// Who is at the other end of a [`ConnectionSlot`], and what a connection is there.
pub trait Connector: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + Sync + 'static;

    /// Makes one, within its own limit of time. Its tasks are those of this runtime.
    fn connect(&self, runtime: &Handle) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Asks whether anybody is there.
    fn ping(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send;

    /// Whether it has ended: the server has closed it, it was given up, or its runtime is gone.
    fn is_closed(&self, connection: &Self::Connection) -> bool;

    /// Ends it, with all that is under way on it. It may have ended by itself before.
    fn abort(&self, connection: &Self::Connection);

    /// Looks whether it has ended in a way of which its task has not heard yet: see [`SocketHandle::peek`](crate::SocketHandle::peek).
    fn peek(&self, _up: &Self::Connection) -> Peek {
        Peek::Empty
    }
}

struct State<U> {
    connection: Option<Arc<U>>,
    connecting: Option<Attempt<Arc<U>>>,
    /// Why there is none, and until when it is not tried again.
    failed: Option<(Duration, Error)>,
    /// Since when nothing was heard although it was asked.
    silence: Option<Silence>,
    /// When a caller that has another connection last began to connect.
    last_background_attempt: Option<Duration>,
    /// When it was last left for one that may lead to another server.
    last_reconnect: Option<Duration>,
    /// The store itself asks whether anybody is there.
    pinging: bool,
}

/// A time in which nothing was heard.
#[derive(Clone, Copy)]
struct Silence {
    /// After how many answers.
    after: u64,
    since: Duration,
    /// A call has waited for its whole time.
    unanswered: bool,
}

/// What all wait for who need a connection.
type Connecting<P> = Attempt<Arc<<P as Connector>::Connection>>;

/// A call that waits for its answer.
struct PendingCall<'a, P: Connector> {
    slot: &'a Arc<ConnectionSlot<P>>,
    connection: &'a Arc<P::Connection>,
    /// After how many answers it was asked.
    before: u64,
    over: bool,
}

/// A connection on which nothing was heard for a deadline and this part of another is frozen or half open, and is replaced. After an
/// unanswered call a breaker gives the next ones as much, and opens if they are not answered, either: a half-open connection to a
/// healthy server should be replaced before.
const GRACE_DIVISOR: u32 = 5;
/// One on which nothing was heard for so many deadlines, the last of them that of its first unanswered call, is replaced at once.
const STALE_DEADLINES: u32 = 3;
/// A connection that was idle for so long is looked at before it is used. A server may have closed it while this process stood
/// still, and a call that fails was not even sent.
const IDLE_CHECK: Duration = Duration::from_millis(10);
/// How often, and how long, the task that reads is waited for, if there are bytes that it has not read.
const UNREAD_WAIT: (u32, Duration) = (10, Duration::from_millis(1));
/// A server that cannot be reached is tried again after as long as the try took, within these bounds. Until then callers are
/// told at once why it failed: they are not kept waiting, and it is not stormed.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

impl<P: Connector> ConnectionSlot<P> {
    /// Connects nowhere yet. What is asked should be answered within the deadline.
    pub fn new(connector: P, runtime: Handle, clock: Clock, deadline: TimeLimit) -> Arc<Self> {
        let (replies, last_reply) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self {
            connector,
            runtime,
            clock,
            deadline,
            state: Mutex::default(),
            replies,
            last_reply,
        })
    }

    /// Who is at the other end.
    pub fn connector(&self) -> &P {
        &self.connector
    }

    /// Within what time an answer is expected.
    pub fn deadline(&self) -> &SharedDeadline {
        &self.deadline
    }

    /// The connection. All who need one while there is none wait for the same.
    pub async fn connection(self: &Arc<Self>) -> Result<Arc<P::Connection>> {
        match self.ready() {
            Some(connection) => Ok(connection),
            None => Box::pin(self.checked()).await,
        }
    }

    /// The connection, if there is one and it need not be looked at before it is used.
    pub fn ready(&self) -> Option<Arc<P::Connection>> {
        let is_idle = self.quiet_for(self.clock.coarse()) >= IDLE_CHECK;
        if is_idle { None } else { self.current() }
    }

    /// Begins to connect if there is no connection, and waits for nothing. At most once a second, however often it is called: the
    /// caller has another connection meanwhile.
    pub fn connect_in_background(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.connection.is_none() {
            if state.last_background_attempt.is_some_and(|it| now < it + RETRY_DELAY.1) {
                return;
            }
            state.last_background_attempt = Some(now);
        }
        drop(state);
        // What comes of it is known here.
        drop(self.connecting());
    }

    /// The connection, if there is one.
    pub fn current(&self) -> Option<Arc<P::Connection>> {
        self.lock().connection.as_ref().filter(|it| !self.connector.is_closed(it)).map(Arc::clone)
    }

    /// The answer within the limit, noting whether there is one. An error is one: something was heard, if only that the connection
    /// has ended.
    pub async fn run<T>(
        self: &Arc<Self>,
        limit: &TimeLimit,
        connection: &Arc<P::Connection>,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let before = self.replies.load(Ordering::Relaxed);
        let mut call = PendingCall { slot: self, connection, before, over: false };
        let answer = limit.run(answer).await;
        call.over = true;
        if answer.is_some() {
            self.replies.fetch_add(1, Ordering::Relaxed);
            self.note(self.clock.coarse());
        } else {
            self.unanswered(limit, connection, before);
        }
        answer
    }

    /// Has the next call connect anew, if this is still the connection. What is under way comes to its end.
    pub fn retire(&self, connection: &Arc<P::Connection>) {
        let left = self.lock().connection.take_if(|it| Arc::ptr_eq(it, connection));
        // Not under the lock: what ends with it may take long.
        drop(left);
    }

    /// Has the next call connect anew, to what may be another server by now; if one is given, only if this is still the connection.
    /// What is under way comes to its end. Not more often than who cannot be reached is tried: it may be the same server again.
    pub fn reconnect(&self, connection: Option<&Arc<P::Connection>>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.last_reconnect.is_some_and(|it| now < it + RETRY_DELAY.1) {
            return;
        }
        state.last_reconnect = Some(now);
        let left = state
            .connection
            .take_if(|it| connection.is_none_or(|connection| Arc::ptr_eq(it, connection)));
        drop(state);
        drop(left);
    }

    /// Gives the connection up if nothing was heard on it for long.
    #[cold]
    fn unanswered(&self, limit: &TimeLimit, connection: &Arc<P::Connection>, before: u64) {
        let mut state = self.lock();
        if self.replies.load(Ordering::Relaxed) != before {
            return;
        }
        let now = self.clock.now();
        let since = match state.silence {
            Some(it) if it.after == before => it.since,
            _ => now.saturating_sub(limit.time()),
        };
        state.silence = Some(Silence { after: before, since, unanswered: true });
        let deadline = self.deadline.time();
        if self.is_silence(now.saturating_sub(since))
            || self.quiet_for(now) >= deadline.saturating_mul(STALE_DEADLINES)
        {
            self.abort(&mut state, connection);
        }
    }

    fn abort(&self, state: &mut State<P::Connection>, connection: &Arc<P::Connection>) {
        self.connector.abort(connection);
        state.silence = None;
        state.connection.take_if(|it| Arc::ptr_eq(it, connection));
    }

    fn is_silence(&self, time: Duration) -> bool {
        let deadline = self.deadline.time();
        time >= deadline.saturating_add(deadline / GRACE_DIVISOR)
    }

    /// Notes that a call was dropped before its answer. Who never waits for as long as the deadline would never learn that
    /// the connection is dead; so the store asks itself when nothing was heard for long.
    fn call_dropped(self: &Arc<Self>, connection: &Arc<P::Connection>, before: u64) {
        if self.replies.load(Ordering::Relaxed) != before {
            return;
        }
        let mut state = self.lock();
        let now = self.clock.now();
        let silence = match state.silence {
            Some(it) if it.after == before => it,
            _ => Silence { after: before, since: now, unanswered: false },
        };
        state.silence = Some(silence);
        let time = now.saturating_sub(silence.since);
        if silence.unanswered && self.is_silence(time) {
            return self.abort(&mut state, connection);
        }
        if time < self.deadline.time() || state.pinging {
            return;
        }
        state.pinging = true;
        drop(state);
        let (slot, connection) = (Arc::clone(self), Arc::clone(connection));
        self.runtime.spawn(async move {
            // What comes of it is noted there.
            let _ = slot.run(&slot.deadline, &connection, slot.connector.ping(&connection)).await;
            slot.lock().pinging = false;
        });
    }

    /// The connection, which may have ended unnoticed, or is not there.
    #[cold]
    async fn checked(self: &Arc<Self>) -> Result<Arc<P::Connection>> {
        for _ in 0..UNREAD_WAIT.0 {
            let Some(connection) = self.current() else { break };
            match self.connector.peek(&connection) {
                Peek::Empty => return Ok(connection),
                Peek::Unread => self.clock.sleep(UNREAD_WAIT.1).await,
                Peek::Closed => {
                    self.connector.abort(&connection);
                    self.retire(&connection);
                }
            }
        }
        match self.connecting() {
            Ok(connection) => Ok(connection),
            Err(connecting) => connecting?.outcome().await,
        }
    }

    /// The connection, or else the attempt to make one, or why there is none.
    fn connecting(self: &Arc<Self>) -> Result<Arc<P::Connection>, Result<Connecting<P>>> {
        let mut state = self.lock();
        match &state.connection {
            Some(connection) if !self.connector.is_closed(connection) => {
                return Ok(Arc::clone(connection));
            }
            Some(connection) => {
                self.connector.abort(connection);
                state.connection = None;
            }
            None => {}
        }
        Err(match (&state.connecting, &state.failed) {
            (Some(it), _) if !it.is_finished() => Ok(it.clone()),
            (_, Some((until, error))) if self.clock.now() < *until => Err(error.clone()),
            _ => Ok(state.connecting.insert(self.connect()).clone()),
        })
    }

    fn connect(self: &Arc<Self>) -> Attempt<Arc<P::Connection>> {
        let slot = Arc::clone(self);
        Attempt::start(&self.runtime, async move {
            let began = slot.clock.now();
            let res = slot.connector.connect(&slot.runtime).await.map(Arc::new);
            let now = slot.clock.now();
            let mut state = slot.lock();
            state.silence = None;
            slot.note(now);
            match &res {
                Ok(connection) => {
                    (state.connection, state.failed) = (Some(Arc::clone(connection)), None)
                }
                Err(error) => {
                    // A server that refuses the password, the database or the table, or that is not trusted, is so the next
                    // time, too.
                    let is_refused = error.kind() == ErrorKind::Backend;
                    let pause = if is_refused { RETRY_DELAY.1 } else { now.saturating_sub(began) };
                    state.failed =
                        Some((now + pause.clamp(RETRY_DELAY.0, RETRY_DELAY.1), error.clone()));
                }
            }
            state.connecting = None;
            res
        })
    }

    /// How long nothing was heard.
    fn quiet_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.last_reply.load(Ordering::Relaxed)))
    }

    fn note(&self, now: Duration) {
        self.last_reply.store(now.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State<P::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Connector> Drop for PendingCall<'_, P> {
    fn drop(&mut self) {
        if !self.over {
            self.slot.call_dropped(self.connection, self.before);
        }
    }
}

impl<U> Default for State<U> {
    fn default() -> Self {
        Self {
            connection: None,
            connecting: None,
            failed: None,
            silence: None,
            last_background_attempt: None,
            last_reconnect: None,
            pinging: false,
        }
    }
}

impl<P: Connector> fmt::Debug for ConnectionSlot<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_up = self.current().is_some();
        f.debug_struct("ConnectionSlot").field("is_up", &is_up).finish_non_exhaustive()
    }
}
