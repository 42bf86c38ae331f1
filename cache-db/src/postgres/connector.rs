//! Making a connection: log in, set the session up, find or create the table.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{
    Clock, Error, ErrorKind, Result,
    store::{PerProcess, StoreId},
};
use cache_net::{Dialer, with_io_driver, within};
use tokio::runtime::Handle;
use tokio_postgres::{Client, Config, config::TargetSessionAttrs};

use super::{
    abandoned::Abandoned,
    address::Address,
    connection::{Connection, lock_timeout},
    error, schema,
    transport::{Link, PayloadReceiver, Transport},
};
use crate::options::PostgresPlan;

/// How to connect.
pub(crate) struct Connector {
    pub(crate) config: Config,
    pub(crate) address: Address,
    pub(crate) transport: Transport,
    pub(crate) plan: PostgresPlan,
    pub(crate) clock: Clock,
    /// Whether the table must exist.
    needs_table: bool,
    /// The abandoned sessions of this process. A child of `fork` has no session of its parent to
    /// wait for.
    abandoned: PerProcess<Arc<Abandoned>>,
}

/// Creating a table takes a moment, but another process may be creating it, and a later version may
/// rewrite it.
const MAKING: Duration = Duration::from_secs(60);

impl Connector {
    pub(crate) fn new(
        config: Config,
        address: Address,
        transport: Transport,
        plan: PostgresPlan,
        clock: Clock,
    ) -> Self {
        let abandoned = PerProcess::new();
        Self { config, address, transport, plan, clock, needs_table: true, abandoned }
    }

    /// Returns a connector for connections that use no table.
    pub(crate) fn without_table(&self) -> Self {
        Self {
            config: self.config.clone(),
            address: self.address.clone(),
            transport: self.transport.clone(),
            plan: self.plan.clone(),
            clock: self.clock.clone(),
            needs_table: false,
            abandoned: PerProcess::new(),
        }
    }

    pub(crate) fn abandoned(&self) -> &Arc<Abandoned> {
        self.abandoned.get_or_init(Arc::default)
    }

    /// Returns the identity of the table. The user and its parameters are part of it, because they
    /// decide in which schema a name is looked up.
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

    /// Whether all connections lead to the server that takes the writes. Where they may lead to a
    /// standby, an old value may be read after the notification of its change.
    pub(crate) fn leads_to_one_server(&self) -> bool {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        hosts <= 1 || self.config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite
    }

    /// Connects within the connect deadline. A task of this runtime drives the I/O. Statements on
    /// the connection wait at most `lock_wait` for a lock.
    pub(crate) async fn connect(
        &self,
        runtime: &Handle,
        lock_wait: Duration,
    ) -> Result<Connection> {
        let log_in = self.log_in(runtime, lock_wait);
        let (connection, is_ready) = self.in_time(self.plan.connect_deadline, log_in).await?;
        if !is_ready {
            self.make(&connection.client, lock_wait).await?;
        }
        Ok(connection)
    }

    /// Connects within the connect deadline, for a stream of notifications. Nothing is set up; the
    /// caller drives the I/O.
    pub(crate) async fn connect_for(&self, receiver: &PayloadReceiver) -> Result<Link> {
        let link = async { with_io_driver(self.link(Some(receiver))).await? };
        self.in_time(self.plan.connect_deadline, link).await
    }

    /// Creates or upgrades the table unless it is current, on a connection of
    /// [`connect_for`](Self::connect_for).
    pub(crate) async fn find_table(&self, client: &Client) -> Result<()> {
        if !self.needs_table {
            return Ok(());
        }
        let found = schema::verify(client, &self.plan, &self.address, schema::STEPS);
        if self.in_time(self.plan.connect_deadline, found).await? {
            return Ok(());
        }
        self.make(client, MAKING).await
    }

    /// Creates or upgrades the table. Later statements wait at most `lock_wait` for a lock.
    async fn make(&self, client: &Client, lock_wait: Duration) -> Result<()> {
        let (plan, address) = (&self.plan, &self.address);
        let making = async {
            let wrong = |it| error::of(&it, address);
            client.batch_execute(&lock_timeout(MAKING)).await.map_err(wrong)?;
            schema::make(client, plan, address, schema::STEPS).await?;
            client.batch_execute(&lock_timeout(lock_wait)).await.map_err(wrong)
        };
        self.in_time(MAKING, making).await
    }

    /// Returns the SQL that creates the table from nothing.
    pub(crate) fn create_sql(&self) -> String {
        schema::create_sql(&self.plan)
    }

    /// Creates or upgrades the table, on a connection that serves nothing else.
    pub(crate) async fn make_table(&self) -> Result<()> {
        self.connect(&cache_core::store::current_runtime()?, MAKING).await.map(drop)
    }

    /// Logs in. Returns the connection, and whether the table exists, if it must.
    async fn log_in(&self, runtime: &Handle, lock_wait: Duration) -> Result<(Connection, bool)> {
        let link = with_io_driver(self.link(None)).await??;
        let clock = self.clock.clone();
        let mut connection =
            Connection::new(link, runtime, &self.plan, clock, Arc::clone(self.abandoned()));
        connection.set_up(lock_wait, &self.address).await?;
        let is_ready = !self.needs_table
            || schema::verify(&connection.client, &self.plan, &self.address, schema::STEPS).await?;
        Ok((connection, is_ready))
    }

    /// Connects to the first host that serves.
    async fn link(&self, receiver: Option<&PayloadReceiver>) -> Result<Link> {
        let time = self.plan.connect_deadline;
        let time = self.config.get_connect_timeout().map_or(time, |it| time.min(*it));
        let dial = Dialer::new(time, self.clock.clone());
        let linked = self.transport.connect(&self.config, &dial, &self.clock, receiver).await;
        linked.map_err(|it| error::connecting(&it, &self.address))
    }

    async fn in_time<T>(&self, time: Duration, it: impl Future<Output = Result<T>>) -> Result<T> {
        within(&self.clock, time, Box::pin(it)).await.unwrap_or_else(|| Err(self.too_slow(time)))
    }

    /// Returns the error of a connection attempt that took too long.
    pub(crate) fn too_slow(&self, time: Duration) -> Error {
        let what = format!("cannot connect within {time:?}");
        error::at(Error::new(ErrorKind::TimedOut, what), &self.address)
    }
}

/// The configuration is left out: it holds the password.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("plan", &self.plan).finish_non_exhaustive()
    }
}
