//! Makes the connections to one server, and decides when they are too old.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result, store::SharedDeadline};
use cache_net::{Dialer, Encryption, Peek, Stream, connection_error, with_io_driver, within};
use tokio::runtime::Handle;

use crate::{
    address::Address,
    connection::{Connection, Refused},
    decoder::Decoder,
    error,
    generation::Generations,
    login::Login,
};

/// Makes the connections to one server.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) login: Option<Login>,
    pub(crate) encryption: Encryption,
    /// Invalidated when a connection starts or ends: the server may have been restarted and may
    /// have lost them.
    pub(crate) generations: Arc<Generations>,
    /// The deadline of a reply.
    pub(crate) deadline: SharedDeadline,
    /// The time to connect.
    pub(crate) time: Duration,
    pub(crate) clock: Clock,
    /// A connection that was idle for longer, in milliseconds, is not used: a device in the network
    /// may have forgotten it. The same for all connections of the runtime to the server.
    pub(crate) idle_limit: Arc<AtomicU64>,
}

/// A connection that was idle for less than this was not forgotten.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// Why an attempt failed.
enum Failed {
    Io(io::Error),
    Refused(Refused),
}

impl Connector {
    /// Resolves the name of the server for each connection.
    async fn connect_to(&self, runtime: &Handle) -> Result<Connection, Failed> {
        match &self.address {
            Address::Tcp { host, port } => {
                let dialer = Dialer::new(self.time, self.clock.clone());
                dialer.connect_with(host, *port, |it| self.greet(runtime, host, it.into())).await
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let connecting = async {
                    let stream = tokio::net::UnixStream::connect(path).await?;
                    self.greet(runtime, "", stream.into()).await
                };
                let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
                within(&self.clock, self.time, connecting).await.unwrap_or_else(late)
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let what = "no unix sockets on this platform";
                Err(io::Error::new(io::ErrorKind::Unsupported, what).into())
            }
        }
    }

    /// The operating system accepts connections also for a frozen server. So each reply has the
    /// deadline of any other.
    async fn greet(
        &self,
        runtime: &Handle,
        host: &str,
        stream: Stream,
    ) -> Result<Connection, Failed> {
        let received = Arc::default();
        let decoder = Decoder::new(Arc::clone(&received));
        let wire = self.encryption.wire(runtime, host, stream, decoder).await?;
        let generations = Arc::clone(&self.generations);
        let connection = Connection::new(wire, received, generations, self.clock.now());
        let greeted = connection.greet(self.login.as_ref(), &self.deadline).await;
        greeted.map_err(Failed::Refused)?;
        Ok(connection)
    }

    fn error(&self, failed: Failed) -> Error {
        let error = match failed {
            Failed::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                let what = format!("cannot connect within {:?}", self.time);
                Error::new(ErrorKind::TimedOut, what)
            }
            Failed::Io(error) => connection_error(&error, "cannot connect"),
            Failed::Refused(Refused::Late) => {
                let time = self.deadline.time();
                let what = format!("no answer to a new connection within {time:?}");
                Error::new(ErrorKind::TimedOut, what)
            }
            Failed::Refused(Refused::ServerError(it)) => Error::new(it.kind, it.what),
            Failed::Refused(Refused::UnexpectedReply) => {
                return error::unexpected_reply(&self.address);
            }
            Failed::Refused(Refused::Lost(error)) if self.may_require_tls(&error) => {
                let what =
                    format!("{}; if the server requires TLS, set options.tls", error.message());
                Error::new(error.kind(), what)
            }
            Failed::Refused(Refused::Lost(error)) => error,
        };
        error::at(error, &self.address)
    }

    /// A server with TLS closes a connection without it, and sends no reason.
    fn may_require_tls(&self, error: &Error) -> bool {
        let is_plain = matches!(self.address, Address::Tcp { .. }) && !self.encryption.is_on();
        is_plain && error.message().starts_with("the connection was lost")
    }

    fn idle_limit(&self) -> Duration {
        Duration::from_millis(self.idle_limit.load(Ordering::Relaxed))
    }
}

impl cache_net::Connector for Connector {
    type Connection = Connection;

    async fn connect(&self, runtime: &Handle) -> Result<Connection> {
        let connected = with_io_driver(Box::pin(self.connect_to(runtime))).await?;
        let connection = connected.map_err(|it| self.error(it))?;
        self.generations.invalidate();
        Ok(connection)
    }

    async fn ping(&self, connection: &Connection) {
        // The slot records that a reply arrived.
        let _ = connection.ping().await;
    }

    fn is_closed(&self, connection: &Connection) -> bool {
        connection.is_closed()
    }

    /// If the connection was idle before its last use, a device in the network may have forgotten
    /// it. From now on, connections that are idle for half as long are replaced.
    fn abort(&self, connection: &Connection) {
        let idle = connection.idle_before();
        if idle >= LEAST_IDLE && connection.is_busy() && !connection.is_closed() {
            let limit = (idle / 2).max(LEAST_IDLE).as_millis();
            self.idle_limit.fetch_min(limit.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        connection.abort();
    }

    fn peek(&self, connection: &Connection) -> Peek {
        let quiet = connection.quiet_for(self.clock.coarse());
        if quiet > self.idle_limit() && !connection.is_busy() {
            return Peek::Closed;
        }
        connection.peek()
    }

    fn replies(&self, connection: &Connection) -> u64 {
        connection.received()
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
