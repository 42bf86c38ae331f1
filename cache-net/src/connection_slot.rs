//! A slot for one connection: connects on demand, and replaces a connection that stopped replying.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result, store::SharedDeadline};
use tokio::runtime::Handle;

use crate::{
    Attempt, Connector, Peek,
    liveness::{Liveness, Silence, Verdict},
};

/// A slot for one connection, which many callers may use at the same time.
///
/// All callers without a connection wait for the same attempt. After a failed attempt there is a
/// delay before the next one, and callers get the error of the failed one meanwhile.
///
/// A connection without a reply for 1.2 deadlines, although a call waited for one, is frozen or
/// half open, and is aborted. If it was idle before, a NAT or a firewall may have forgotten it, and
/// its first unanswered call aborts it. A slow connection in use or a single late reply does not
/// trigger a reconnect.
///
/// ```
/// use std::{future::pending, sync::atomic::{AtomicU32, Ordering}, time::Duration};
///
/// use cache_core::{Clock, Result, store::SharedDeadline};
/// use cache_net::{ConnectionSlot, Connector};
/// use tokio::runtime::Handle;
///
/// /// Makes connections that are numbers.
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
/// let limit = SharedDeadline::new(Duration::from_millis(10), clock.clone());
/// let slot = ConnectionSlot::new(server, Handle::current(), clock, limit.clone());
/// let connection = slot.connection().await?;
/// assert_eq!(slot.run(&limit, &connection, async { "a reply" }).await, Some("a reply"));
/// assert_eq!(*slot.connection().await?, 0);
///
/// // From now on there is no reply.
/// for _ in 0..2 {
///     assert_eq!(slot.run(&limit, &connection, pending::<()>()).await, None);
/// }
/// assert_eq!(*slot.connection().await?, 1);
/// # Ok(()) }
/// ```
pub struct ConnectionSlot<C: Connector> {
    connector: C,
    runtime: Handle,
    clock: Clock,
    deadline: SharedDeadline,
    state: Mutex<State<C::Connection>>,
    liveness: Liveness,
}

struct State<T> {
    connection: Option<Arc<T>>,
    connecting: Option<Attempt<Arc<T>>>,
    /// Why the last attempt failed, and until when there is no other attempt.
    failed: Option<(Duration, Error)>,
    silence: Option<Silence>,
    /// When [`connect_in_background`](ConnectionSlot::connect_in_background) last began an attempt.
    last_background_attempt: Option<Duration>,
    /// When [`reconnect`](ConnectionSlot::reconnect) last retired a connection.
    last_reconnect: Option<Duration>,
    pinging: bool,
}

/// The attempt that all callers without a connection wait for.
type Connecting<C> = Attempt<Arc<<C as Connector>::Connection>>;

/// A call that waits for its reply.
struct PendingCall<'a, C: Connector> {
    slot: &'a Arc<ConnectionSlot<C>>,
    connection: &'a Arc<C::Connection>,
    before: Before,
    is_finished: bool,
}

/// The numbers of replies when a call began.
#[derive(Clone, Copy)]
struct Before {
    /// Of calls that have their replies.
    calls: u64,
    /// As [`Connector::replies`] counts them.
    received: u64,
}

/// A connection that was idle for this long is checked before it is used. A server may have closed
/// it while this process was suspended, and then the call would fail although it was not sent.
const IDLE_CHECK: Duration = Duration::from_millis(1);
/// If bytes on an idle connection were not read yet: how often, and how long, to wait for the task
/// that reads.
const UNREAD_WAIT: (u32, Duration) = (13, Duration::from_millis(1));
/// How many of these waits only let other tasks run.
const UNREAD_YIELDS: u32 = 3;
/// The next attempt to connect begins after as long as the last one took, within these bounds.
/// Until then callers get its error at once: they do not wait, and the server is not flooded.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

impl<C: Connector> ConnectionSlot<C> {
    /// Creates a slot without a connection. `deadline` is the time within which replies are
    /// expected.
    pub fn new(connector: C, runtime: Handle, clock: Clock, deadline: SharedDeadline) -> Arc<Self> {
        let liveness = Liveness::new(deadline.time());
        Arc::new(Self { connector, runtime, clock, deadline, state: Mutex::default(), liveness })
    }

    /// Returns the connector.
    pub fn connector(&self) -> &C {
        &self.connector
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns the time within which a reply is expected.
    pub fn deadline(&self) -> &SharedDeadline {
        &self.deadline
    }

    /// Returns the connection; makes one if necessary. All callers without a connection wait for
    /// the same attempt.
    ///
    /// # Errors
    /// The error of [`Connector::connect`], also for some time after an attempt failed;
    /// `Unavailable` if the runtime is shutting down.
    ///
    /// # Cancel safety
    /// The attempt continues without the caller.
    pub async fn connection(self: &Arc<Self>) -> Result<Arc<C::Connection>> {
        match self.ready() {
            Some(connection) => Ok(connection),
            None => Box::pin(self.checked()).await,
        }
    }

    /// Returns the connection if it exists and need not be checked before it is used.
    pub fn ready(&self) -> Option<Arc<C::Connection>> {
        let is_idle = self.liveness.quiet_for(self.clock.coarse()) >= IDLE_CHECK;
        if is_idle { None } else { self.current() }
    }

    /// Begins to connect if there is no connection, and does not wait. Begins at most one attempt a
    /// second, for callers that use another connection meanwhile.
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
        // The attempt stores its result in the slot.
        drop(self.connecting());
    }

    /// Returns the connection if it exists and is not closed.
    pub fn current(&self) -> Option<Arc<C::Connection>> {
        self.lock().connection.as_ref().filter(|it| !self.connector.is_closed(it)).map(Arc::clone)
    }

    /// Waits for the reply of a call, for no longer than the limit; `None` if there was no reply.
    /// An error counts as a reply: something arrived, if only the end of the connection. Aborts the
    /// connection if it had no reply for too long.
    ///
    /// # Cancel safety
    /// A dropped call counts as one without a reply so far. After a deadline without any reply the
    /// slot sends a ping.
    pub async fn run<T>(
        self: &Arc<Self>,
        limit: &SharedDeadline,
        connection: &Arc<C::Connection>,
        reply: impl Future<Output = T>,
    ) -> Option<T> {
        let before =
            Before { calls: self.liveness.replies(), received: self.connector.replies(connection) };
        let mut call = PendingCall { slot: self, connection, before, is_finished: false };
        let reply = limit.run(reply).await;
        call.is_finished = true;
        if reply.is_some() || self.has_received(connection, before) {
            self.liveness.reply(self.clock.coarse());
        } else {
            self.unanswered(limit, connection, before.calls);
        }
        reply
    }

    /// Like [`run`](Self::run), for a call with many or long replies: the limit starts again while
    /// something [arrives](Connector::replies), so that a large batch in progress is not cut off.
    ///
    /// # Cancel safety
    /// That of `run`.
    pub async fn run_many<T>(
        self: &Arc<Self>,
        limit: &SharedDeadline,
        connection: &Arc<C::Connection>,
        replies: impl Future<Output = T>,
    ) -> Option<T> {
        let mut replies = pin!(replies);
        loop {
            let before = self.connector.replies(connection);
            let done = self.run(limit, connection, replies.as_mut()).await;
            if done.is_some() || self.connector.replies(connection) == before {
                return done;
            }
        }
    }

    fn has_received(&self, connection: &C::Connection, before: Before) -> bool {
        self.connector.replies(connection) != before.received
    }

    /// Makes the next call connect again, if this is still the connection. Calls on it finish.
    pub fn retire(&self, connection: &Arc<C::Connection>) {
        let retired = self.lock().connection.take_if(|it| Arc::ptr_eq(it, connection));
        // After the lock is released: dropping a connection may take long.
        drop(retired);
    }

    /// Makes the next call connect again, as the address may lead to another server by now. If a
    /// connection is given, only if it is still the connection. Calls on it finish. Has an effect
    /// at most once a second: the address may lead to the same server again.
    pub fn reconnect(&self, connection: Option<&Arc<C::Connection>>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.last_reconnect.is_some_and(|it| now < it + RETRY_DELAY.1) {
            return;
        }
        state.last_reconnect = Some(now);
        let is_given = |it: &mut Arc<_>| connection.is_none_or(|given| Arc::ptr_eq(it, given));
        let retired = state.connection.take_if(is_given);
        drop(state);
        drop(retired);
    }

    #[cold]
    fn unanswered(&self, limit: &SharedDeadline, connection: &Arc<C::Connection>, before: u64) {
        let mut state = self.lock();
        let now = self.clock.now();
        let silence = &mut state.silence;
        if self.liveness.unanswered(silence, before, now, limit.time()) == Verdict::Dead {
            self.abort(&mut state, connection);
        }
    }

    fn call_dropped(self: &Arc<Self>, connection: &Arc<C::Connection>, before: Before) {
        if self.liveness.replies() != before.calls || self.has_received(connection, before) {
            return;
        }
        let mut state = self.lock();
        match self.liveness.dropped(&mut state.silence, before.calls, self.clock.now()) {
            Verdict::Alive => return,
            Verdict::Dead => return self.abort(&mut state, connection),
            Verdict::Doubtful if state.pinging => return,
            Verdict::Doubtful => state.pinging = true,
        }
        drop(state);
        let (slot, connection) = (Arc::clone(self), Arc::clone(connection));
        self.runtime.spawn(async move {
            // `run` records whether there was a reply.
            let _ = slot.run(&slot.deadline, &connection, slot.connector.ping(&connection)).await;
            slot.lock().pinging = false;
        });
    }

    fn abort(&self, state: &mut State<C::Connection>, connection: &Arc<C::Connection>) {
        self.connector.abort(connection);
        state.silence = None;
        state.connection.take_if(|it| Arc::ptr_eq(it, connection));
    }

    /// Returns the connection after a check; makes one if necessary.
    #[cold]
    async fn checked(self: &Arc<Self>) -> Result<Arc<C::Connection>> {
        for round in 0..UNREAD_WAIT.0 {
            let Some(connection) = self.current() else { break };
            match self.connector.peek(&connection) {
                Peek::Empty => return Ok(connection),
                // Usually a reply to another call, and its task has yet to run.
                Peek::Unread if round < UNREAD_YIELDS => tokio::task::yield_now().await,
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

    /// Returns the connection; without one, the attempt to make one, or why the last failed.
    fn connecting(self: &Arc<Self>) -> Result<Arc<C::Connection>, Result<Connecting<C>>> {
        let mut state = self.lock();
        match &state.connection {
            Some(it) if !self.connector.is_closed(it) => return Ok(Arc::clone(it)),
            Some(it) => {
                self.connector.abort(it);
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

    fn connect(self: &Arc<Self>) -> Attempt<Arc<C::Connection>> {
        let slot = Arc::clone(self);
        Attempt::start(&self.runtime, async move {
            let began = slot.clock.now();
            let res = slot.connector.connect(&slot.runtime).await.map(Arc::new);
            let now = slot.clock.now();
            let mut state = slot.lock();
            state.silence = None;
            slot.liveness.reset(now);
            match &res {
                Ok(it) => (state.connection, state.failed) = (Some(Arc::clone(it)), None),
                Err(error) => {
                    // A refusal (of the password, the database, the table or a certificate) will
                    // most likely repeat.
                    let is_refused = error.kind() == ErrorKind::Backend;
                    let delay = if is_refused { RETRY_DELAY.1 } else { now.saturating_sub(began) };
                    let delay = delay.clamp(RETRY_DELAY.0, RETRY_DELAY.1);
                    state.failed = Some((now + delay, error.clone()));
                }
            }
            state.connecting = None;
            res
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<C::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Connector> Drop for PendingCall<'_, C> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.slot.call_dropped(self.connection, self.before);
        }
    }
}

impl<T> Default for State<T> {
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

impl<C: Connector> fmt::Debug for ConnectionSlot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_connected = self.current().is_some();
        let mut debug = f.debug_struct("ConnectionSlot");
        debug.field("is_connected", &is_connected).finish_non_exhaustive()
    }
}
