//! The connections of one tokio runtime, and the task that trims.

use std::{
    hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use cache_core::{
    Error, ErrorKind, Result,
    store::{PerProcess, SharedDeadline},
};
use cache_net::within;
use tokio::{runtime::Handle, sync::Semaphore, task::AbortHandle};

use super::{
    call::{self, Caller},
    connect::Connector,
    connection::{Answer, Up},
    error,
    health::Health,
    line::Line,
    param::Param,
    sql::Ask,
    trim::{self, Written},
};
use crate::options::Plan;

/// What the pools of a store have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) connector: Arc<Connector>,
    health: PerProcess<Arc<Health>>,
}

impl Common {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector: Arc::new(connector), health: PerProcess::new() }
    }

    /// What this process knows of the server.
    fn health(&self) -> &Arc<Health> {
        self.health.get_or_init(|| Arc::new(Health::new(self.connector.clock.clone())))
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.connector.plan.plan
    }
}

/// Ends with its runtime, or when the store is closed.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) written: Arc<Written>,
    health: Arc<Health>,
    runtime: Handle,
    lines: Vec<Line>,
    /// For what is slow, or waits for a lock: what is sent behind it on the same connection waits for it.
    slow: Line,
    /// One statement at a time waits for a lock there.
    waiting: Arc<Semaphore>,
    patient: SharedDeadline,
    trimming: AbortHandle,
}

/// What has no deadline as a whole goes in steps, and each may take this many deadlines: it may work on a thousand rows.
const PATIENCE: u32 = 10;
/// On a connection of many callers a statement waits for a lock for a short time only, this part of the deadline: what was sent behind it
/// waits, too.
const SHORT: u32 = 50;
const SHORTEST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// Microseconds, about as long as a few statements take.
const MOMENT: u64 = 2000;
/// For so many deadlines a key that was found locked is written where it holds up no other.
const REMEMBERED: u32 = 2;

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: &Handle) -> Arc<Self> {
        let (deadline, health) = (common.plan().deadline, Arc::clone(common.health()));
        let line = |lock_wait| {
            Line::new(
                Arc::clone(&common.connector),
                Arc::clone(&health),
                runtime.clone(),
                lock_wait,
            )
        };
        let lines = (0..common.connector.plan.connections).map(|_| line(short(deadline))).collect();
        // So that the server says that a row was locked before the deadline of the caller.
        let slow = line(deadline / 4 * 3);
        let time = deadline.saturating_mul(PATIENCE);
        let patient = SharedDeadline::new(
            time.clamp(Duration::from_secs(1), Duration::from_secs(60)),
            common.connector.clock.clone(),
        );
        let written = Arc::<Written>::default();
        Arc::new_cyclic(|pool| {
            let clock = common.connector.clock.clone();
            let trimming = trim::task(pool.clone(), Arc::clone(&written), clock);
            let trimming = runtime.spawn(trimming).abort_handle();
            let (runtime, waiting) = (runtime.clone(), Arc::new(Semaphore::new(1)));
            Self { common, written, health, runtime, lines, slow, waiting, patient, trimming }
        })
    }

    /// Asks about this key. It always takes the same connection, or what is sent about it could lose its order.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        key: &str,
        ask: Ask,
        params: Vec<Param>,
    ) -> Result<Answer> {
        let (pool, key) = (Arc::clone(self), hash(key));
        let asked =
            |caller: Arc<Caller>| async move { pool.ask_for(key, ask, &params, &caller).await };
        call::run(&self.runtime, asked).await
    }

    async fn ask_for(
        self: &Arc<Self>,
        key: u64,
        ask: Ask,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Answer> {
        let (health, began) = (&self.health, self.health.now());
        if !(ask.writes() && health.locked.has(key, || health.now())) {
            let (line, up, is_own) = self.place_of(key).await?;
            let asked = line.ask(Arc::clone(&up), None, ask, params, caller).await;
            if !is_own {
                give_up_unanswered(line, &up, caller);
            }
            if let Some(answer) = asked? {
                return Ok(answer);
            }
            if ask.writes() {
                health.locked.add(key, self.remembered());
            }
        }
        Box::pin(self.ask_locked(key, began, ask, params.to_vec())).await
    }

    /// Asks what has to wait for a lock of another session. A turn lasts until the server has answered, even if its caller has left
    /// before: so never more than one statement waits on that connection.
    #[cold]
    async fn ask_locked(
        self: &Arc<Self>,
        key: u64,
        began: Duration,
        ask: Ask,
        params: Vec<Param>,
    ) -> Result<Answer> {
        let (health, deadline) = (&self.health, self.common.plan().deadline);
        // Connecting may have taken longer than all of it.
        let left = deadline.saturating_sub(health.now().saturating_sub(began)).max(deadline / 4);
        let waited = async {
            let turn = Arc::clone(&self.waiting).acquire_owned().await;
            let pool = Arc::clone(self);
            let asked = |caller: Arc<Caller>| async move {
                let _turn = turn;
                pool.ask_in_turn(key, ask, &params, &caller).await
            };
            call::run(&self.runtime, asked).await
        };
        match Box::pin(within(&self.common.connector.clock, left, waited)).await {
            Some(Ok(Some(answer))) => Ok(answer),
            Some(Ok(None)) | None => Err(self.locked(ask)),
            Some(Err(error)) => Err(error),
        }
    }

    async fn ask_in_turn(
        &self,
        key: u64,
        ask: Ask,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Option<Answer>> {
        let locked = &self.health.locked;
        let up = self.slow.connected().await?;
        let asked = self.slow.ask(Arc::clone(&up), None, ask, params, caller).await;
        give_up_unanswered(&self.slow, &up, caller);
        let answer = asked?;
        // Only the server knows whether the row was locked: the time that the answer took may be the way's.
        if answer.is_some() {
            locked.remove(key);
        } else if ask.writes() {
            locked.add(key, self.remembered());
        }
        Ok(answer)
    }

    fn remembered(&self) -> Duration {
        let time = self.common.plan().deadline.saturating_mul(REMEMBERED);
        self.health.now().saturating_add(time)
    }

    /// A write that waits for a row says nothing about the server. A read waits for no row: if it waits, the whole table is locked.
    fn locked(&self, ask: Ask) -> Error {
        let what = "another session holds the row or the table locked for longer than the deadline; end its transaction";
        let error =
            error::at(Error::new(ErrorKind::TimedOut, what), &self.common.connector.address);
        if ask.writes() { error.ignored_by_breaker() } else { error }
    }

    /// Waits for a moment before what others have prevented is tried again, except the first time; `false` if the deadline is over, which
    /// begins with the first call.
    pub(crate) async fn may_try_again(&self, until: &mut Option<Duration>) -> bool {
        let clock = &self.common.connector.clock;
        let Some(until) = until else {
            *until = Some(clock.now().saturating_add(self.common.plan().deadline));
            return true;
        };
        // So that those who meet do not meet again.
        let moment = RandomState::new().hash_one(clock.now()) % MOMENT;
        clock.sleep(Duration::from_micros(moment)).await;
        clock.now() < *until
    }

    /// Asks what takes as long as it takes.
    pub(crate) async fn ask_patiently(
        self: &Arc<Self>,
        ask: Ask,
        params: Vec<Param>,
    ) -> Result<Answer> {
        let pool = Arc::clone(self);
        let asked = |caller: Arc<Caller>| async move {
            let up = pool.slow.connected().await?;
            let answer = pool.slow.ask(up, Some(&pool.patient), ask, &params, &caller).await?;
            answer.ok_or_else(|| pool.locked(ask))
        };
        call::run(&self.runtime, asked).await
    }

    pub(crate) async fn check(self: &Arc<Self>) -> Result<()> {
        let pool = Arc::clone(self);
        let checked = |caller: Arc<Caller>| async move {
            for line in pool.lines.iter().chain([&pool.slow]) {
                line.check(&caller).await?;
            }
            Ok(())
        };
        call::run(&self.runtime, checked).await
    }

    /// Where this key goes: to its own connection, or to another if that one cannot be made; and whether it is its own.
    async fn place_of(&self, key: u64) -> Result<(&Line, Arc<Up>, bool)> {
        // What remains is below the length.
        let number = usize::try_from(key % self.lines.len() as u64).unwrap_or(0);
        let own = &self.lines[number];
        if let Some(up) = own.ready().await {
            return Ok((own, up, true));
        }
        if own.is_failing()
            && let Some((line, up)) = self.another(number).await
        {
            own.try_again();
            return Ok((line, up, false));
        }
        match Box::pin(own.connected()).await {
            Ok(up) => Ok((own, up, true)),
            Err(error) => match self.another(number).await {
                Some((line, up)) => Ok((line, up, false)),
                None => Err(error),
            },
        }
    }

    /// A connection that is there.
    async fn another(&self, than: usize) -> Option<(&Line, Arc<Up>)> {
        let others = self.lines.iter().cycle().skip(than + 1).take(self.lines.len() - 1);
        for line in others.chain([&self.slow]) {
            if let Some(up) = line.ready().await {
                return Some((line, up));
            }
        }
        None
    }
}

/// What is sent about a key next may take another connection: so a write that was not answered must come to an end with this one.
fn give_up_unanswered(line: &Line, up: &Arc<Up>, caller: &Caller) {
    if caller.is_waiting() {
        line.give_up(up);
    }
}

fn short(deadline: Duration) -> Duration {
    (deadline / SHORT).clamp(SHORTEST.0, SHORTEST.1)
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trimming.abort();
    }
}
