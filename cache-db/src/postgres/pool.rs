//! The connections of one tokio runtime.

use std::{
    hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use cache_core::{
    Result,
    store::{PerProcess, SharedDeadline},
};
use cache_net::{CounterQueue, within};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    address::Address,
    connection::{Connection, Reply},
    connector::Connector,
    detached::{self, Caller},
    elsewhere::Elsewhere,
    error,
    health::Health,
    param::Param,
    slot::{Slot, cancelled},
    statements::Statement,
    trim::{Trimmer, WriteCounts},
};
use crate::options::Plan;

/// The parts that the pools of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connector: Arc<Connector>,
    health: PerProcess<Arc<Health>>,
}

impl Shared {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector: Arc::new(connector), health: PerProcess::new() }
    }

    /// Returns what this process knows of the server.
    fn health(&self) -> &Arc<Health> {
        self.health.get_or_init(|| Arc::new(Health::new(self.connector.clock.clone())))
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.connector.plan.plan
    }
}

/// A pool of connections. It ends with its runtime, or when the store is closed.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writes: Arc<WriteCounts>,
    /// Changes of counters that wait for an earlier change of the same key.
    pub(crate) counters: Arc<CounterQueue>,
    pub(crate) health: Arc<Health>,
    pub(crate) runtime: Handle,
    slots: Vec<Slot>,
    /// Writes that are not, or not only, on the connection of their keys.
    elsewhere: Elsewhere,
    /// The connection for slow statements and for those that wait for a lock: whatever is sent
    /// behind them waits for them.
    slow: Arc<Slot>,
    /// One statement at a time waits for a lock there.
    waiting: Arc<Semaphore>,
    slow_limit: SharedDeadline,
    /// For the wait in the queue of a counter.
    pub(crate) queue_limit: SharedDeadline,
}

/// The keys of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    /// The hash of the first one, whose connection runs the statement.
    first: u64,
    /// Whether others have another connection.
    are_apart: bool,
}

/// Operations without a deadline run in steps. A step may take so many deadlines: it may touch a
/// thousand rows.
const SLOW_DEADLINES: u32 = 10;
/// On a shared connection a statement waits only this part of the deadline for a lock, because the
/// statements behind it wait, too.
const LOCK_WAIT_PART: u32 = 50;
const LOCK_WAIT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// Microseconds: about the time of a few statements.
const MAX_PAUSE: u64 = 2000;
/// For so many deadlines, writes of a key that was found locked run where they delay no other key.
const REMEMBERED: u32 = 2;

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>, runtime: &Handle) -> Arc<Self> {
        let (deadline, health) = (shared.plan().deadline, Arc::clone(shared.health()));
        let slot = |lock_wait| {
            Slot::new(
                Arc::clone(&shared.connector),
                Arc::clone(&health),
                runtime.clone(),
                lock_wait,
            )
        };
        let slots =
            (0..shared.connector.plan.connections).map(|_| slot(lock_wait(deadline))).collect();
        // Shorter than the deadline, so that the server reports the lock before the call times out.
        let slow = Arc::new(slot(deadline / 4 * 3));
        let time = deadline.saturating_mul(SLOW_DEADLINES);
        let slow_limit = SharedDeadline::new(
            time.clamp(Duration::from_secs(1), Duration::from_secs(60)),
            shared.connector.clock.clone(),
        );
        let writes = Arc::<WriteCounts>::default();
        let trimmer = Trimmer::new(
            Arc::clone(&shared.connector),
            Arc::clone(&slow),
            slow_limit.clone(),
            Arc::clone(&writes),
        );
        runtime.spawn(trimmer.run());
        let (runtime, waiting) = (runtime.clone(), Arc::new(Semaphore::new(1)));
        let queue_limit = SharedDeadline::new(deadline, shared.connector.clock.clone());
        Arc::new(Self {
            shared,
            writes,
            counters: Arc::default(),
            health,
            runtime,
            slots,
            elsewhere: Elsewhere::default(),
            slow,
            waiting,
            slow_limit,
            queue_limit,
        })
    }

    /// Runs a statement about this key. A key always takes the same connection, which keeps its
    /// statements in order.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        key: &str,
        statement: Statement,
        params: Vec<Param>,
    ) -> Result<Reply> {
        let keys = Keys { first: hash(key), are_apart: false };
        self.execute_many(keys, statement, params).await
    }

    /// Returns the keys of a statement that writes several.
    pub(crate) fn keys<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Keys {
        let mut keys = keys.into_iter().map(hash);
        let first = keys.next().unwrap_or_default();
        let are_apart = keys.any(|it| self.slot_of(it) != self.slot_of(first));
        Keys { first, are_apart }
    }

    /// Runs a statement about these keys.
    pub(crate) async fn execute_many(
        self: &Arc<Self>,
        keys: Keys,
        statement: Statement,
        params: Vec<Param>,
    ) -> Result<Reply> {
        let pool = Arc::clone(self);
        let call = |caller: Arc<Caller>| async move {
            pool.execute_for(keys, statement, &params, &caller).await
        };
        detached::run(&self.runtime, call).await
    }

    /// As [`execute`](Self::execute), in a task that has this caller.
    pub(crate) async fn execute_in_task(
        self: &Arc<Self>,
        key: &str,
        statement: Statement,
        params: &[Param],
        caller: &Arc<Caller>,
    ) -> Result<Reply> {
        let keys = Keys { first: hash(key), are_apart: false };
        self.execute_for(keys, statement, params, caller).await
    }

    async fn execute_for(
        self: &Arc<Self>,
        Keys { first: key, are_apart }: Keys,
        statement: Statement,
        params: &[Param],
        caller: &Arc<Caller>,
    ) -> Result<Reply> {
        let (health, began) = (&self.health, self.health.now());
        if statement.writes() {
            self.elsewhere.wait().await;
        }
        let mut under_way = are_apart.then(|| self.elsewhere.begin(caller));
        if !(statement.writes() && health.locked.has(key, || health.now())) {
            let (slot, connection, is_own) = self.connection_for(key).await?;
            let is_own = is_own && !are_apart;
            if !is_own && statement.writes() {
                under_way.get_or_insert_with(|| self.elsewhere.begin(caller));
            }
            let outcome =
                slot.execute(Arc::clone(&connection), None, statement, params, caller).await;
            if !is_own {
                abort_unanswered(slot, &connection, caller);
            }
            if let Some(answer) = outcome? {
                return Ok(answer);
            }
            if statement.writes() {
                health.locked.add(key, self.remember_until());
            }
        }
        // The connection for locks sends it for a call of its own. From here on, a later write
        // waits for this one if the caller leaves; if it has left, the server has not run it.
        let _under_way = under_way.unwrap_or_else(|| self.elsewhere.begin(caller));
        if caller.is_cancelled() || !caller.hand_over() {
            return Err(cancelled());
        }
        Box::pin(self.execute_waiting(key, began, statement, params.to_vec())).await
    }

    /// Runs a statement that waits for a lock of another session. The caller keeps its turn until
    /// the server has answered, even after it has left, so that at most one statement waits on that
    /// connection.
    #[cold]
    async fn execute_waiting(
        self: &Arc<Self>,
        key: u64,
        began: Duration,
        statement: Statement,
        params: Vec<Param>,
    ) -> Result<Reply> {
        let (health, deadline) = (&self.health, self.shared.plan().deadline);
        // Connecting may have taken longer than the whole deadline.
        let left = deadline.saturating_sub(health.now().saturating_sub(began)).max(deadline / 4);
        let waited = async {
            let permit = Arc::clone(&self.waiting).acquire_owned().await;
            let pool = Arc::clone(self);
            let call = |caller: Arc<Caller>| async move {
                let _permit = permit;
                pool.execute_on_slow(key, statement, &params, &caller).await
            };
            detached::run(&self.runtime, call).await
        };
        match Box::pin(within(&self.shared.connector.clock, left, waited)).await {
            Some(Ok(Some(answer))) => Ok(answer),
            Some(Ok(None)) | None => Err(error::locked(statement, self.address())),
            Some(Err(error)) => Err(error),
        }
    }

    async fn execute_on_slow(
        &self,
        key: u64,
        statement: Statement,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Option<Reply>> {
        let locked = &self.health.locked;
        let connection = self.slow.connected().await?;
        let outcome =
            self.slow.execute(Arc::clone(&connection), None, statement, params, caller).await;
        abort_unanswered(&self.slow, &connection, caller);
        let answer = outcome?;
        // Only the server knows whether the row was locked: a slow answer may be due to the
        // network.
        if answer.is_some() {
            locked.remove(key);
        } else if statement.writes() {
            locked.add(key, self.remember_until());
        }
        Ok(answer)
    }

    pub(crate) fn address(&self) -> &Address {
        &self.shared.connector.address
    }

    fn remember_until(&self) -> Duration {
        let time = self.shared.plan().deadline.saturating_mul(REMEMBERED);
        self.health.now().saturating_add(time)
    }

    /// Pauses before an operation that other callers prevented is tried again, except the first
    /// time. Returns `false` once the deadline, which starts with the first call, has passed.
    pub(crate) async fn pause_before_retry(&self, until: &mut Option<Duration>) -> bool {
        let clock = &self.shared.connector.clock;
        let Some(until) = until else {
            *until = Some(clock.now().saturating_add(self.shared.plan().deadline));
            return true;
        };
        // Random, so that callers that collide do not collide again.
        let pause = RandomState::new().hash_one(clock.now()) % MAX_PAUSE;
        clock.sleep(Duration::from_micros(pause)).await;
        clock.now() < *until
    }

    /// Runs a statement that may take long.
    pub(crate) async fn execute_long(
        self: &Arc<Self>,
        statement: Statement,
        params: Vec<Param>,
    ) -> Result<Reply> {
        let pool = Arc::clone(self);
        let call = |caller: Arc<Caller>| async move {
            let connection = pool.slow.connected().await?;
            let answer = pool
                .slow
                .execute(connection, Some(&pool.slow_limit), statement, &params, &caller)
                .await?;
            answer.ok_or_else(|| error::locked(statement, pool.address()))
        };
        detached::run(&self.runtime, call).await
    }

    pub(crate) async fn check(self: &Arc<Self>) -> Result<()> {
        let pool = Arc::clone(self);
        let call = |caller: Arc<Caller>| async move {
            for slot in pool.slots.iter().chain([&*pool.slow]) {
                slot.check(&caller).await?;
            }
            Ok(())
        };
        detached::run(&self.runtime, call).await
    }

    fn slot_of(&self, key: u64) -> usize {
        // The remainder is below the length.
        usize::try_from(key % self.slots.len() as u64).unwrap_or(0)
    }

    /// Whether the connection of this key is made.
    pub(crate) fn is_connected(&self, key: &str) -> bool {
        self.slots[self.slot_of(hash(key))].is_connected()
    }

    /// Returns the connection for this key: its own, or another one if its own cannot be made. The
    /// flag says whether it is its own.
    async fn connection_for(&self, key: u64) -> Result<(&Slot, Arc<Connection>, bool)> {
        let number = self.slot_of(key);
        let own = &self.slots[number];
        if let Some(connection) = own.ready().await {
            return Ok((own, connection, true));
        }
        if own.is_failing()
            && let Some((slot, connection)) = self.another(number).await
        {
            own.try_again();
            return Ok((slot, connection, false));
        }
        match Box::pin(own.connected()).await {
            Ok(connection) => Ok((own, connection, true)),
            Err(error) => match self.another(number).await {
                Some((slot, connection)) => Ok((slot, connection, false)),
                None => Err(error),
            },
        }
    }

    /// Returns any open connection.
    async fn another(&self, than: usize) -> Option<(&Slot, Arc<Connection>)> {
        let others = self.slots.iter().cycle().skip(than + 1).take(self.slots.len() - 1);
        for slot in others.chain([&*self.slow]) {
            if let Some(connection) = slot.ready().await {
                return Some((slot, connection));
            }
        }
        None
    }
}

/// The next statement about the key may take another connection. So an unanswered write must end
/// with this one.
fn abort_unanswered(slot: &Slot, connection: &Arc<Connection>, caller: &Caller) {
    if caller.has_unanswered() {
        slot.abort(connection);
    }
}

fn lock_wait(deadline: Duration) -> Duration {
    (deadline / LOCK_WAIT_PART).clamp(LOCK_WAIT.0, LOCK_WAIT.1)
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.writes.close();
    }
}
