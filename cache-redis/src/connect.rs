//! From an address to a connection that is logged in.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result};
use cache_net::{Dialer, Peek, Socket, SocketHandle, connection_error, with_io_driver, within};
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    abandoned::{Abandoned, Client},
    address::{Address, Login},
    command::command,
    error,
    limit::Limit,
    reply,
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
    /// What is known of the size of values, where any are written.
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) time: Duration,
    pub(crate) clock: Clock,
}

/// A connection, and the task that moves its bytes.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) connection: MultiplexedConnection,
    socket: SocketHandle,
    task: AbortHandle,
    /// How many calls were sent and not answered, those among them whose callers are gone.
    unanswered: AtomicU64,
    /// How the server names it, if it says so.
    client: Option<Client>,
    abandoned: Arc<Abandoned>,
    ended: AtomicBool,
    /// What is known of the size of values, where any are written, and how many connections had
    /// been lost with one before this.
    limit: Option<(Arc<Limit>, u64)>,
}

/// Whom to connect to, for whom.
#[derive(Clone, Copy)]
struct To<'a> {
    runtime: &'a Handle,
    address: &'a Address,
    abandoned: &'a Arc<Abandoned>,
    lost: &'a Lost,
}

/// Why a server cannot be used that was perhaps connected to.
enum Refused {
    Io(io::Error),
    Redis(RedisError),
}

/// Set when a connection has ended by itself.
pub(crate) type Lost = Arc<AtomicBool>;

/// How many requests may wait for the task that sends them. The crate's own 50 would let tasks wait
/// for each other.
const QUEUE: usize = 1024;

impl Connector {
    /// A connection, within the time for connecting. Its bytes are moved by a task of this runtime.
    pub(crate) async fn connect(
        &self,
        runtime: &Handle,
        address: &Address,
        abandoned: &Arc<Abandoned>,
        lost: Lost,
    ) -> Result<Up> {
        let connecting = Box::pin(self.connect_in_time(runtime, address, abandoned, &lost));
        within(&self.clock, self.time, connecting).await.unwrap_or_else(|| {
            let what = format!("cannot connect within {:?}", self.time);
            Err(error::at(Error::new(ErrorKind::TimedOut, what), address))
        })
    }

    async fn connect_in_time(
        &self,
        runtime: &Handle,
        address: &Address,
        abandoned: &Arc<Abandoned>,
        lost: &Lost,
    ) -> Result<Up> {
        let version =
            if self.resp == Some(2) { ProtocolVersion::RESP2 } else { ProtocolVersion::RESP3 };
        let to = To { runtime, address, abandoned, lost };
        let mut up = self.log_in_caught(to, version).await?;
        if let Err(Refused::Redis(error)) = &up
            && self.resp.is_none()
            && error::lacks_resp3(error)
        {
            up = self.log_in_caught(to, ProtocolVersion::RESP2).await?;
        }
        let mut up = up.map_err(|it| match it {
            Refused::Io(it) => error::at(connection_error(&it, "cannot connect"), address),
            Refused::Redis(it) => error::connecting(&it, address),
        })?;
        self.introduce(&mut up).await.map_err(|it| error::at(it, address))?;
        Ok(up)
    }

    async fn log_in_caught(
        &self,
        to: To<'_>,
        version: ProtocolVersion,
    ) -> Result<Result<Up, Refused>> {
        let setup = self.setup(version);
        with_io_driver(Box::pin(self.log_in(to, &setup))).await
    }

    /// The first of the host's addresses that serves.
    async fn log_in(&self, to: To<'_>, setup: &RedisConnectionInfo) -> Result<Up, Refused> {
        match to.address {
            Address::Tcp { host, port } => {
                let dial = Dialer::new(self.time, self.clock.clone());
                let greet = |it| self.greet(to, setup, host, Socket::new(it));
                dial.connect_with(host, *port, greet).await
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await?;
                self.greet(to, setup, "", Socket::new(stream)).await
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let what = "no unix sockets on this platform";
                Err(io::Error::new(io::ErrorKind::Unsupported, what).into())
            }
        }
    }

    async fn greet(
        &self,
        to: To<'_>,
        setup: &RedisConnectionInfo,
        host: &str,
        (socket, handle): (Socket, SocketHandle),
    ) -> Result<Up, Refused> {
        let stream = self.transport.wrap(host, socket).await?;
        Box::pin(up(to, setup, stream, handle)).await.map_err(Refused::Redis)
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
    async fn introduce(&self, up: &mut Up) -> Result<()> {
        let limits = ["CONFIG", "GET", "proto-max-bulk-len", "client-query-buffer-limit"];
        let mut words = vec![command(&["CLIENT", "INFO"])];
        words.extend(self.limit.as_ref().map(|_| command(&limits)));
        words.extend(self.client_name.as_deref().map(|it| command(&["CLIENT", "SETNAME", it])));
        words.extend(self.read_only.then(|| command(&["READONLY"])));
        let answers = futures_util::future::join_all(words.iter().map(|it| up.send(it)));
        let mut answers = answers.await.into_iter();
        // A server that does not say it, by its ACL or because it is something else, cannot end it,
        // either.
        let info = answers.next().transpose()?.and_then(|it| reply::text(it).ok().flatten());
        up.client = info.as_deref().and_then(Client::of);
        // Nor can one be asked for more than it says.
        if let Some(limit) = &self.limit {
            limit.learn(answers.next().transpose()?.unwrap_or_default());
            up.limit = Some((Arc::clone(limit), limit.loss_count()));
        }
        for it in answers {
            if let Value::ServerError(it) = it? {
                return Err(error::from_reply(&it));
            }
        }
        Ok(())
    }
}

async fn up(
    to: To<'_>,
    setup: &RedisConnectionInfo,
    stream: Box<dyn Stream>,
    socket: SocketHandle,
) -> Result<Up, RedisError> {
    // Deadlines are ours: tokio's timers stand still where tests have paused its clock.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
    let (connection, moving) =
        MultiplexedConnection::new_with_config(setup, stream, config).await?;
    let lost = Arc::clone(to.lost);
    let task = to.runtime.spawn(async move {
        moving.await;
        lost.store(true, Ordering::Release);
    });
    Ok(Up {
        connection,
        socket,
        task: task.abort_handle(),
        unanswered: AtomicU64::new(0),
        client: None,
        abandoned: Arc::clone(to.abandoned),
        ended: AtomicBool::new(false),
        limit: None,
    })
}

impl Up {
    /// Whether it has ended: the server has closed it, it was given up, or its runtime is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished() || self.ended.load(Ordering::Acquire)
    }

    /// Notes that a call is sent.
    pub(crate) fn sent(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that one was answered.
    pub(crate) fn answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that it was lost under a call whose longest argument has so many bytes.
    pub(crate) fn lost_with(&self, longest: usize) {
        if let Some((limit, before)) = &self.limit {
            limit.record_loss(longest, *before);
        }
    }

    /// Whether a call may be under way on it.
    pub(crate) fn is_busy(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > 0
    }

    /// Looks what the system says of it.
    pub(crate) fn peek(&self) -> Peek {
        self.socket.peek()
    }

    /// Ends it, with all that is under way on it: nothing of that is sent any more, and the server
    /// is told to end it, too.
    pub(crate) fn give_up(&self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.task.abort();
        self.socket.reset();
        if let Some(client) = self.client.as_ref().filter(|_| self.is_busy()) {
            self.abandoned.add(client.clone());
        }
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
        if self.is_busy() {
            self.give_up();
        } else {
            self.socket.close_gracefully();
            self.task.abort();
        }
    }
}

impl From<io::Error> for Refused {
    fn from(it: io::Error) -> Self {
        Self::Io(it)
    }
}
