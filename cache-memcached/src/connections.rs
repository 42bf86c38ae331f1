//! Connections to one server: lent to one exchange at a time, and given up rather than reused when
//! in doubt.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{Clock, Error, ErrorKind, Result, store::SharedDeadline};
use cache_net::{Dialer, connection_error, with_io_driver};
use futures_util::{FutureExt as _, future::BoxFuture};
use memcache::exp::MetaCommand;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    address::Address,
    connection::{Connection, Failure, Questions},
    error,
    generation::Generations,
    reply::Reply,
    server_errors,
    transport::Transport,
};

#[derive(Debug)]
pub(crate) struct Connections {
    address: Address,
    /// In doubt when a connection begins or ends: the server may have been started anew, and what
    /// is written under one that it does not have would be gone as soon as that is noticed.
    generations: Arc<Generations>,
    state: Mutex<State>,
    /// One for each connection that there may be now.
    slots: Semaphore,
    /// The most that there may ever be.
    most: usize,
    /// For an exchange, waiting for a slot not counted.
    deadline: SharedDeadline,
    dial: Dialer,
    clock: Clock,
    /// Of questions; an answer says to which it belongs.
    numbers: AtomicU32,
    /// When the last exchange came to a good end, in milliseconds.
    heard: AtomicU64,
}

struct State {
    /// Those that are not lent; the one that was used last is the last.
    idle: Vec<Connection>,
    /// How many are lent.
    lent: usize,
    /// How many are being made.
    dialed: usize,
    /// How many there may be now: less than the most if the server takes no more.
    allowed: usize,
    /// When one more is tried.
    grow_at: Duration,
    /// Why the server cannot be reached, and until when it is not tried again.
    failed: Option<(Duration, Error)>,
    /// For how long one may be idle and is used again. Whatever is on the way may forget it.
    idle_limit: Duration,
}

/// A connection on loan: closed when it is dropped, unless it is given back.
struct Loan<'a> {
    pool: &'a Connections,
    connection: Option<Connection>,
    /// For how long it was idle.
    idle: Duration,
    _slot: SemaphorePermit<'a>,
}

/// A server that cannot be reached is tried again after as long as the try took, within these
/// bounds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How often a server that takes fewer connections than are wanted is asked for one more.
const GROWTH: Duration = Duration::from_secs(1);
/// A connection that was silent after less time than this was not forgotten for being idle.
const LEAST_IDLE: Duration = Duration::from_secs(1);

impl Connections {
    pub(crate) fn new(
        address: Address,
        generations: Arc<Generations>,
        most: usize,
        deadline: Duration,
        connect: Duration,
        clock: Clock,
    ) -> Self {
        let state = State {
            idle: Vec::new(),
            lent: 0,
            dialed: 0,
            allowed: most,
            grow_at: Duration::ZERO,
            failed: None,
            idle_limit: Duration::MAX,
        };
        Self {
            address,
            generations,
            state: Mutex::new(state),
            slots: Semaphore::new(most),
            most,
            deadline: SharedDeadline::new(deadline, clock.clone()),
            dial: Dialer::new(connect, clock.clone()),
            clock,
            numbers: AtomicU32::new(0),
            heard: AtomicU64::new(0),
        }
    }

    async fn borrow(&self) -> Result<Loan<'_>> {
        let mut slot = self.slot().await?;
        loop {
            if let Some(connection) = self.idle() {
                let idle = self.clock.coarse().saturating_sub(connection.idle_since);
                return Ok(Loan { pool: self, connection: Some(connection), idle, _slot: slot });
            }
            // It is seldom, and its future is large.
            match Box::pin(self.open()).await {
                Ok(connection) => {
                    let idle = Duration::ZERO;
                    return Ok(Loan {
                        pool: self,
                        connection: Some(connection),
                        idle,
                        _slot: slot,
                    });
                }
                Err(refused) => slot = self.shrink(slot, refused).await?,
            }
        }
    }

    async fn slot(&self) -> Result<SemaphorePermit<'_>> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        {
            let (now, mut state) = (self.clock.coarse(), self.lock());
            if now >= state.grow_at {
                state.grow_at = now.saturating_add(GROWTH);
                self.grow(&mut state);
            }
        }
        if let Some(Ok(slot)) = self.deadline.run(self.slots.acquire()).await {
            return Ok(slot);
        }
        let what = "all connections to the server were in use for the whole deadline; see options.connections";
        let error = error::at(Error::new(ErrorKind::TimedOut, what), &self.address);
        // A server that answers those who have a connection is not the one to blame.
        Err(if self.is_silent() { error } else { error.ignored_by_breaker() })
    }

    /// Allows one connection more.
    fn grow(&self, state: &mut State) {
        if state.allowed < self.most {
            state.allowed += 1;
            self.slots.add_permits(1);
        }
    }

    /// Waits for one of the connections that there are, if the server takes no more. Otherwise the
    /// error.
    async fn shrink<'a>(
        &'a self,
        slot: SemaphorePermit<'a>,
        refused: Error,
    ) -> Result<SemaphorePermit<'a>> {
        // One without `maxconns_fast` leaves those that are too many without an answer.
        let is_full = refused.message() == server_errors::TOO_MANY_CONNECTIONS
            || refused.kind() == ErrorKind::TimedOut && !self.is_silent();
        {
            let now = self.clock.coarse();
            let mut state = self.lock();
            if !is_full || state.lent + state.dialed + state.idle.len() == 0 {
                return Err(refused);
            }
            if state.allowed == 1 {
                return Ok(slot);
            }
            state.allowed -= 1;
            state.grow_at = now.saturating_add(GROWTH);
        }
        slot.forget();
        self.slot().await
    }

    /// One that is not lent, and on which nothing has happened meanwhile.
    fn idle(&self) -> Option<Connection> {
        let now = self.clock.coarse();
        loop {
            let connection = {
                let mut state = self.lock();
                let connection = state.idle.pop()?;
                if now.saturating_sub(connection.idle_since) > state.idle_limit {
                    // Those before it are older.
                    let old = std::mem::take(&mut state.idle);
                    drop(state);
                    drop(old);
                    return None;
                }
                state.lent += 1;
                connection
            };
            if connection.is_quiet() {
                return Some(connection);
            }
            self.lock().lent -= 1;
            self.generations.invalidate();
        }
    }

    /// One more, which is lent at once.
    async fn open(&self) -> Result<Connection> {
        let began = self.clock.now();
        let dialing = {
            let mut state = self.lock();
            match &state.failed {
                Some((until, error)) if began < *until => return Err(error.clone()),
                _ => state.dialed += 1,
            }
            Dialing(self)
        };
        let mut res = self.dial().await;
        let now = self.clock.now();
        let mut state = self.lock();
        match &mut res {
            Ok(connection) => {
                connection.idle_since = now;
                state.failed = None;
                state.lent += 1;
                self.grow(&mut state);
                drop(state);
                // It may lead to a server that was started anew.
                self.generations.invalidate();
            }
            Err(error) => {
                let pause = now.saturating_sub(began).clamp(PAUSE.0, PAUSE.1);
                state.failed = Some((now + pause, error.clone()));
                drop(state);
            }
        }
        drop(dialing);
        res
    }

    /// The name is looked up anew each time.
    async fn dial(&self) -> Result<Connection> {
        let failure = match with_io_driver(self.greeted()).await? {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        let (kind, what) = match failure {
            Failure::Lost(io::ErrorKind::TimedOut) => {
                (ErrorKind::TimedOut, format!("cannot connect within {:?}", self.dial.timeout()))
            }
            Failure::Lost(it) => {
                let error = connection_error(&it.into(), "cannot connect");
                return Err(error::at(error, &self.address));
            }
            Failure::Late => {
                let time = self.deadline.time();
                (ErrorKind::TimedOut, format!("no answer to a new connection within {time:?}"))
            }
            it => return Err(error::of(&it, self.dial.timeout(), &self.address)),
        };
        Err(error::at(Error::new(kind, what), &self.address))
    }

    fn greeted(&self) -> BoxFuture<'_, Result<Connection, Failure>> {
        let Address { host, port } = &self.address;
        // That the server is there the system says for it, also if it is frozen: so its answer has
        // the time of any other.
        let greet = |stream| async {
            let greeted = self.deadline.run(Connection::greeted(stream)).await;
            greeted.unwrap_or(Err(Failure::Late))
        };
        self.dial.connect_with(host, *port, greet).boxed()
    }

    /// What is wrong with one connection is likely to be wrong with those that were idle meanwhile.
    fn failed(&self, loan: Loan<'_>, failure: &Failure) -> Error {
        let error = error::of(failure, self.deadline.time(), &self.address);
        let idle = loan.idle;
        drop(loan);
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
            let mut state = self.lock();
            let others = std::mem::take(&mut state.idle);
            if matches!(failure, Failure::Late) && idle >= LEAST_IDLE {
                state.idle_limit = state.idle_limit.min((idle / 2).max(LEAST_IDLE));
            }
            drop(state);
            drop(others);
            self.generations.invalidate();
        }
        error
    }

    fn succeeded(&self, mut loan: Loan<'_>) {
        let now = self.clock.coarse();
        self.heard.store(now.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(it) = &mut loan.connection {
            it.idle_since = now;
        }
        loan.give_back();
    }

    /// What the meta protocol has no command for; up to this line.
    async fn ask_in_the_old_protocol(&self, command: &str, end: &[u8]) -> Result<String> {
        let mut loan = self.borrow().await?;
        let asked = match &mut loan.connection {
            Some(it) => self.deadline.run(it.ask_in_the_old_protocol(command, end)).await,
            None => None,
        };
        match asked.unwrap_or(Err(Failure::Late)) {
            Ok(answer) => {
                self.succeeded(loan);
                Ok(answer)
            }
            Err(failure) => Err(self.failed(loan, &failure)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Connections {
    async fn exchange(
        &self,
        commands: Vec<MetaCommand>,
        doubts: Option<u64>,
    ) -> Result<Option<Vec<Reply>>> {
        let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let number = self.numbers.fetch_add(count, Ordering::Relaxed);
        let questions =
            Questions::new(commands, number).map_err(|_| error::unsendable(&self.address))?;
        let mut loan = self.borrow().await?;
        if doubts.is_some_and(|it| it != self.generations.invalidations()) {
            loan.give_back();
            return Ok(None);
        }
        let asked = match &mut loan.connection {
            Some(it) => it.exchange(&questions, &self.deadline).await,
            None => Err(Failure::OutOfStep),
        };
        match asked {
            Ok(answers) => {
                self.succeeded(loan);
                Ok(Some(answers))
            }
            Err(failure) => Err(self.failed(loan, &failure)),
        }
    }

    fn is_connected(&self) -> bool {
        let state = self.lock();
        state.lent + state.idle.len() > 0
    }

    fn is_silent(&self) -> bool {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.clock.coarse().saturating_sub(heard) >= self.deadline.time() / 2
    }

    async fn item_size(&self) -> Result<u64> {
        let answer = self.ask_in_the_old_protocol("stats settings", b"END").await?;
        let size =
            answer.lines().find_map(|it| it.strip_prefix("STAT item_size_max ")?.parse().ok());
        size.ok_or_else(|| error::unexpected_reply(&self.address))
    }

    async fn flush_all(&self) -> Result<()> {
        self.ask_in_the_old_protocol("flush_all", b"OK").await.map(drop)
    }
}

/// Counts a connection that is being made.
struct Dialing<'a>(&'a Connections);

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.0.lock().dialed -= 1;
    }
}

impl Loan<'_> {
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            let mut state = self.pool.lock();
            state.lent -= 1;
            state.idle.push(connection);
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.lock().lent -= 1;
            drop(connection);
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} idle, {} lent of {}", self.idle.len(), self.lent, self.allowed)
    }
}
