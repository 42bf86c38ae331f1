//! From an address to a connection that is logged in and has found its table.

use std::{fmt, panic::AssertUnwindSafe, time::Duration};

use cache_core::{Clock, Error, ErrorKind, Result, StoreId};
use cache_net::within;
use futures_util::{FutureExt as _, TryStreamExt as _};
use tokio::{runtime::Handle, sync::OnceCell, task::AbortHandle};
use tokio_postgres::{Client, Config, Error as PgError, Row, Statement};

use super::{
    address::Address,
    call::Caller,
    error,
    param::Param,
    schema,
    sql::{Ask, COUNT},
    transport::Transport,
};
use crate::{options::PostgresPlan, table::Table};

/// How to connect.
pub(crate) struct Connector {
    pub(crate) config: Config,
    pub(crate) address: Address,
    pub(crate) transport: Transport,
    pub(crate) plan: PostgresPlan,
    pub(crate) clock: Clock,
}

impl Connector {
    /// Returns the identity of the table. The user and its parameters count, as they decide in which schema a name is looked up.
    pub(crate) fn store_id(&self) -> StoreId {
        let config = &self.config;
        let user = config.get_user().unwrap_or_default();
        let parts = [
            self.address.to_string(),
            format!("{:?}", config.get_hostaddrs()),
            user.to_owned(),
            config.get_dbname().unwrap_or(user).to_owned(),
            config.get_options().unwrap_or_default().to_owned(),
            self.plan.plan.table.name().to_owned(),
        ];
        StoreId::new("postgres", parts)
    }
}

/// A connection, what is prepared on it, and the task that moves its bytes.
pub(crate) struct Up {
    client: Client,
    table: Table,
    statements: [OnceCell<Statement>; COUNT],
    task: AbortHandle,
}

/// What a statement answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    /// How many it has written or removed.
    pub(crate) count: u64,
}

/// A table is made in a moment, but another process may be making it, and a later version may have to rewrite it.
const MAKING: Duration = Duration::from_secs(60);

/// The statements are made for `read committed`, where one that meets another waits and goes on. Their plans are the same whatever
/// is asked, so they are made once; that may be while the table is empty, and they must not be those for an empty one.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
                       SET enable_seqscan = off; SET jit = off";

impl Connector {
    /// A connection, within the time for connecting. Its bytes are moved by a task of this runtime. Its statements wait for a lock no
    /// longer than `lock_wait`.
    pub(crate) async fn connect(&self, runtime: &Handle, lock_wait: Duration) -> Result<Up> {
        let log_in = self.log_in(runtime, lock_wait);
        let (up, is_ready) = self.in_time(self.plan.connect_deadline, log_in).await?;
        if !is_ready {
            let (plan, address) = (&self.plan, &self.address);
            let making = async {
                self.settle(&up, MAKING).await?;
                schema::make(&up.client, plan, address, schema::STEPS).await?;
                self.settle(&up, lock_wait).await
            };
            self.in_time(MAKING, making).await?;
        }
        Ok(up)
    }

    /// All SQL that makes the table from nothing.
    pub(crate) fn create_sql(&self) -> String {
        schema::create_sql(&self.plan)
    }

    /// Makes the table if it is not there, or brings it up to date, with a connection that serves nothing else.
    pub(crate) async fn make_table(&self) -> Result<()> {
        self.connect(&cache_core::current_runtime()?, MAKING).await.map(drop)
    }

    /// The connection, and whether the table is there.
    async fn log_in(&self, runtime: &Handle, lock_wait: Duration) -> Result<(Up, bool)> {
        // A runtime without sockets is told from one with them only by a panic; it goes no further.
        let client = AssertUnwindSafe(self.transport.connect(&self.config)).catch_unwind().await;
        let client = client.map_err(|_| no_sockets())?;
        let (client, moving) = client.map_err(|it| error::connecting(&it, &self.address))?;
        let up = Up {
            client,
            table: self.plan.plan.table.clone(),
            statements: std::array::from_fn(|_| OnceCell::new()),
            task: runtime.spawn(moving).abort_handle(),
        };
        self.settle(&up, lock_wait).await?;
        let is_ready = schema::verify(&up.client, &self.plan, &self.address, schema::STEPS).await?;
        Ok((up, is_ready))
    }

    /// What holds for all that is asked, whatever the server's own settings are.
    async fn settle(&self, up: &Up, lock_wait: Duration) -> Result<()> {
        let millis = lock_wait.as_millis().clamp(1, 1 << 30);
        let sql = format!("SET lock_timeout = {millis}; {SESSION}");
        up.client.batch_execute(&sql).await.map_err(|it| error::of(&it, &self.address))
    }

    async fn in_time<T>(&self, time: Duration, it: impl Future<Output = Result<T>>) -> Result<T> {
        within(&self.clock, time, Box::pin(it)).await.unwrap_or_else(|| Err(self.too_slow(time)))
    }

    /// What is said of a connection that is not there in time.
    pub(crate) fn too_slow(&self, time: Duration) -> Error {
        let what = format!("cannot connect within {time:?}");
        error::at(Error::new(ErrorKind::TimedOut, what), &self.address)
    }
}

impl Up {
    /// Sends a statement, after it was prepared if need be. Others may be under way at the same time.
    pub(crate) async fn ask(
        &self,
        ask: Ask,
        params: &[Param],
        caller: &Caller,
    ) -> Result<Answer, PgError> {
        let statement = match self.statements[ask as usize].get() {
            Some(it) => it,
            None => Box::pin(self.prepare(ask)).await?,
        };
        // Boxed, because each future around it would have room for it twice.
        let sending = Box::pin(self.client.query_raw(statement, params));
        let stream = caller.send(sending).await?;
        let mut stream = std::pin::pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        Ok(Answer { rows, count: stream.rows_affected().unwrap_or_default() })
    }

    async fn prepare(&self, ask: Ask) -> Result<&Statement, PgError> {
        let prepare = || async { self.client.prepare(&ask.sql(&self.table)).await };
        self.statements[ask as usize].get_or_try_init(prepare).await
    }

    /// Whether it has ended: the server has closed it, it was given up, or its runtime is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.client.is_closed() || self.task.is_finished()
    }

    /// Ends it, with all that is under way on it.
    pub(crate) fn give_up(&self) {
        self.task.abort();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn no_sockets() -> Error {
    Error::new(
        ErrorKind::Config,
        "this store needs a tokio runtime with sockets; build the runtime with `enable_io()` or `enable_all()`",
    )
}

/// Without the configuration, which holds the password.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Up").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}
