//! The connections of one tokio runtime, and the task that trims.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, TimeLimit};
use cache_net::within;
use tokio::{runtime::Handle, sync::Semaphore, task::AbortHandle};

use super::{
    call::{self, Caller},
    connect::{Answer, Connector},
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
    health: Arc<Health>,
}

impl Common {
    pub(crate) fn new(connector: Connector) -> Self {
        let health = Arc::new(Health::new(connector.clock.clone()));
        Self { connector: Arc::new(connector), health }
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
    runtime: Handle,
    lines: Vec<Line>,
    /// For what is slow, or waits for a lock: what is sent behind it on the same connection waits for it.
    slow: Line,
    /// One statement at a time waits for a lock there.
    waiting: Arc<Semaphore>,
    patient: TimeLimit,
    trimming: AbortHandle,
}

/// What has no deadline as a whole goes in steps, and each may take this many deadlines: it may work on a thousand rows.
const PATIENCE: u32 = 10;
/// On a connection of many callers a statement waits for a lock for a short time only, this part of the deadline: what was sent behind it
/// waits, too.
const SHORT: u32 = 50;
const SHORTEST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// For so many deadlines a key that was found locked is written where it holds up no other.
const REMEMBERED: u32 = 2;

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: &Handle) -> Arc<Self> {
        let deadline = common.plan().deadline;
        let line = |lock_wait| {
            let (connector, health) = (Arc::clone(&common.connector), Arc::clone(&common.health));
            Line::new(connector, health, runtime.clone(), lock_wait)
        };
        let lines = (0..common.connector.plan.connections).map(|_| line(short(deadline))).collect();
        // So that the server says that a row was locked before the deadline of the caller.
        let slow = line(deadline / 4 * 3);
        let time = deadline.saturating_mul(PATIENCE);
        let patient = TimeLimit::new(
            time.clamp(Duration::from_secs(1), Duration::from_secs(60)),
            common.connector.clock.clone(),
        );
        let written = Arc::<Written>::default();
        Arc::new_cyclic(|pool| {
            let clock = common.connector.clock.clone();
            let trimming = trim::task(pool.clone(), Arc::clone(&written), clock);
            let trimming = runtime.spawn(trimming).abort_handle();
            let (runtime, waiting) = (runtime.clone(), Arc::new(Semaphore::new(1)));
            Self { common, written, runtime, lines, slow, waiting, patient, trimming }
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
        let (health, began) = (&self.common.health, self.common.health.now());
        if !(ask.writes() && health.locked.has(key, || health.now())) {
            if let Some(answer) = self.line_of(key).ask(None, ask, params, caller).await? {
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
        let (health, deadline) = (&self.common.health, self.common.plan().deadline);
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
        let health = &self.common.health;
        let began = health.now();
        let answer = self.slow.ask(None, ask, params, caller).await?;
        let took = health.now().saturating_sub(began);
        if answer.is_some() && took < short(self.common.plan().deadline) {
            health.locked.remove(key);
        } else if ask.writes() {
            health.locked.add(key, self.remembered());
        }
        Ok(answer)
    }

    fn remembered(&self) -> Duration {
        let time = self.common.plan().deadline.saturating_mul(REMEMBERED);
        self.common.health.now().saturating_add(time)
    }

    /// A write that waits for a row says nothing about the server. A read waits for no row: if it waits, the whole table is locked.
    fn locked(&self, ask: Ask) -> Error {
        let what = "another session holds the row or the table locked for longer than the deadline; end its transaction";
        let error =
            error::at(Error::new(ErrorKind::TimedOut, what), &self.common.connector.address);
        if ask.writes() { error.ignored_by_breaker() } else { error }
    }

    /// Asks what takes as long as it takes.
    pub(crate) async fn ask_patiently(
        self: &Arc<Self>,
        ask: Ask,
        params: Vec<Param>,
    ) -> Result<Answer> {
        let pool = Arc::clone(self);
        let asked = |caller: Arc<Caller>| async move {
            let answer = pool.slow.ask(Some(&pool.patient), ask, &params, &caller).await?;
            answer.ok_or_else(|| pool.locked(ask))
        };
        call::run(&self.runtime, asked).await
    }

    pub(crate) async fn check(self: &Arc<Self>) -> Result<()> {
        let pool = Arc::clone(self);
        let checked = |caller: Arc<Caller>| async move {
            for line in &pool.lines {
                line.check(&caller).await?;
            }
            Ok(())
        };
        call::run(&self.runtime, checked).await
    }

    fn line_of(&self, key: u64) -> &Line {
        // What remains is below the length.
        let number = usize::try_from(key % self.lines.len() as u64).unwrap_or(0);
        &self.lines[number]
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
