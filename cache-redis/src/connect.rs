//! From an address to a connection that is logged in.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result};
use cache_net::within;
use futures_util::FutureExt as _;
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    address::{Address, Login},
    command::command,
    error,
    transport::{Stream, Transport},
};

/// How to connect to one sort of server.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) login: Login,
    pub(crate) transport: Transport,
    /// 2 or 3, or what the server has.
    pub(crate) resp: Option<u8>,
    pub(crate) client_name: Option<String>,
    /// Replicas of a Cluster answer reads only to those who have said that they know what they do.
    pub(crate) read_only: bool,
    pub(crate) time: Duration,
    pub(crate) clock: Clock,
}

/// A connection, and the task that moves its bytes.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) connection: MultiplexedConnection,
    task: AbortHandle,
}

/// Set when a connection has ended by itself.
pub(crate) type Lost = Arc<AtomicBool>;

/// How many requests may wait for the task that sends them. The crate's own 50 would let tasks wait for each other.
const QUEUE: usize = 1024;

impl Connector {
    /// A connection, within the time for connecting. Its bytes are moved by a task of this runtime.
    pub(crate) async fn connect(
        &self,
        runtime: &Handle,
        address: &Address,
        lost: Lost,
    ) -> Result<Up> {
        let connecting = self.connect_in_time(runtime, address, lost);
        within(&self.clock, self.time, connecting).await.unwrap_or_else(|| {
            let what = format!("cannot connect within {:?}", self.time);
            Err(error::at(Error::new(ErrorKind::TimedOut, what), address))
        })
    }

    async fn connect_in_time(&self, runtime: &Handle, address: &Address, lost: Lost) -> Result<Up> {
        let version =
            if self.resp == Some(2) { ProtocolVersion::RESP2 } else { ProtocolVersion::RESP3 };
        let up = match self.log_in(runtime, address, version, Arc::clone(&lost)).await? {
            Ok(up) => up,
            Err(error) if self.resp.is_none() && error::knows_no_resp3(&error) => {
                let again = self.log_in(runtime, address, ProtocolVersion::RESP2, lost).await?;
                again.map_err(|it| error::connecting(&it, address))?
            }
            Err(error) => return Err(error::connecting(&error, address)),
        };
        self.introduce(&up).await.map_err(|it| error::at(it, address))?;
        Ok(up)
    }

    async fn log_in(
        &self,
        runtime: &Handle,
        address: &Address,
        version: ProtocolVersion,
        lost: Lost,
    ) -> Result<Result<Up, RedisError>> {
        // A runtime without sockets is told from one with them only by a panic; it goes no further.
        let stream = AssertUnwindSafe(self.transport.open(address)).catch_unwind().await;
        let stream = stream.map_err(|_| no_sockets())?.map_err(|it| unreachable(&it, address))?;
        let setup = self.setup(version);
        Ok(up(runtime, setup, stream, lost).await)
    }

    fn setup(&self, version: ProtocolVersion) -> RedisConnectionInfo {
        let mut res = RedisConnectionInfo::default()
            .set_db(self.login.database)
            .set_protocol(version)
            .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.login.user {
            res = res.set_username(user);
        }
        // The crate logs nobody in without a password; a user may have none.
        let none = self.login.user.as_ref().map(|_| "");
        if let Some(password) = self.login.password.as_deref().or(none) {
            res = res.set_password(password);
        }
        res
    }

    /// What the crate does not say when it connects.
    async fn introduce(&self, up: &Up) -> Result<()> {
        let name = self.client_name.as_deref().map(|it| command(&["CLIENT", "SETNAME", it]));
        let read_only = self.read_only.then(|| command(&["READONLY"]));
        for it in name.into_iter().chain(read_only) {
            if let Value::ServerError(it) = up.send(&it).await? {
                return Err(error::refused(&it));
            }
        }
        Ok(())
    }
}

async fn up(
    runtime: &Handle,
    setup: RedisConnectionInfo,
    stream: Box<dyn Stream>,
    lost: Lost,
) -> Result<Up, RedisError> {
    // Deadlines are ours: tokio's timers stand still where tests have paused its clock.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
    let (connection, moving) =
        MultiplexedConnection::new_with_config(&setup, stream, config).await?;
    let task = runtime.spawn(async move {
        moving.await;
        lost.store(true, Ordering::Release);
    });
    Ok(Up { connection, task: task.abort_handle() })
}

impl Up {
    /// Whether it has ended: the server has closed it, it was given up, or its runtime is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it, with all that is under way on it.
    pub(crate) fn give_up(&self) {
        self.task.abort();
    }

    async fn send(&self, command: &Cmd) -> Result<Value> {
        let mut connection = self.connection.clone();
        let answer = connection.send_packed_command(command).await;
        answer.map_err(|it| {
            Error::new(ErrorKind::Unavailable, format!("the connection was lost: {it}"))
        })
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

fn unreachable(error: &io::Error, address: &Address) -> Error {
    let (kind, what) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (ErrorKind::Unavailable, "nobody listens there".to_owned())
        }
        // What TLS is refused for does not pass by itself.
        io::ErrorKind::InvalidData => (ErrorKind::Backend, format!("no trust: {error}")),
        _ => (ErrorKind::Unavailable, error.to_string()),
    };
    error::at(Error::new(kind, format!("cannot connect: {what}")), address)
}
