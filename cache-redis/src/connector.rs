//! From an address to a connection.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result};
use cache_net::{
    ConnectionSlot, Dialer, Encryption, Peek, Stream, connection_error, with_io_driver, within,
};
use tokio::runtime::Handle;

use crate::{
    abandoned::Abandoned,
    address::{Address, Login},
    connection::Connection,
    decoder::{Decoder, OnPush},
    error,
    limit::Limit,
    publishing::Channels,
    push::PushReceiver,
    resp::Reply,
};

/// How to connect to servers of one role.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) login: Login,
    pub(crate) encryption: Encryption,
    /// 2 or 3. If it is unset, the newest version that the server supports.
    pub(crate) resp: Option<u8>,
    pub(crate) client_name: Option<String>,
    /// Whether connections send `READONLY`: otherwise a replica of a Cluster rejects reads.
    pub(crate) read_only: bool,
    /// Whether the server must be a leader. Behind Sentinels, an old leader may run again as a
    /// replica, and would answer reads.
    pub(crate) leader_only: bool,
    /// The limit of values, if any are written.
    pub(crate) limit: Option<Arc<Limit>>,
    /// The time within which a connection must be made.
    pub(crate) time: Duration,
    pub(crate) clock: Clock,
    /// The channels of the writes, if they may have to be published.
    pub(crate) channels: Option<Arc<Channels>>,
    /// The beginning of the keys whose changes a near tier tracks.
    pub(crate) tracked: String,
    /// Receives push messages.
    pub(crate) pushes: Option<PushReceiver>,
}

/// A server, for the connections of one runtime.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) runtime: Handle,
    connector: Arc<Connector>,
    abandoned: Arc<Abandoned>,
    lost: LostFlag,
}

/// A slot for one connection to a server.
pub(crate) type Slot = Arc<ConnectionSlot<Server>>;

/// Set when a connection has ended.
pub(crate) type LostFlag = Arc<AtomicBool>;

/// The reason why a connection was not made.
enum Failed {
    Io(io::Error),
    Handshake(Error),
}

impl Connector {
    /// Returns the way to a connection for push messages, with this version of RESP.
    pub(crate) fn for_pushes(
        &self,
        resp: Option<u8>,
        leader_only: bool,
        pushes: PushReceiver,
    ) -> Self {
        Self {
            login: self.login.clone(),
            encryption: self.encryption.clone(),
            resp,
            client_name: self.client_name.clone(),
            read_only: false,
            leader_only: leader_only || self.leader_only,
            limit: None,
            time: self.time,
            clock: self.clock.clone(),
            channels: None,
            tracked: String::new(),
            pushes: Some(pushes),
        }
    }

    fn decoder(&self) -> Decoder {
        let on_push = self.pushes.clone().map(|pushes| -> OnPush {
            Box::new(move |message: Vec<Reply>| pushes.receive(&message))
        });
        Decoder::new(on_push)
    }
}

impl Server {
    pub(crate) fn new(
        address: Address,
        connector: Arc<Connector>,
        runtime: Handle,
        lost: LostFlag,
    ) -> Self {
        let abandoned = Abandoned::at(&address);
        Self { address, runtime, connector, abandoned, lost }
    }

    /// Connects to the first of the host's addresses that accepts the login.
    async fn open(&self) -> Result<Connection, Failed> {
        match &self.address {
            Address::Tcp { host, port } => {
                let dialer = Dialer::new(self.connector.time, self.connector.clock.clone());
                dialer.connect_with(host, *port, |stream| self.greet(host, stream)).await
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await?;
                self.greet("", stream).await
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let what = "no unix sockets on this platform";
                Err(io::Error::new(io::ErrorKind::Unsupported, what).into())
            }
        }
    }

    async fn greet(&self, host: &str, stream: impl Into<Stream>) -> Result<Connection, Failed> {
        let connector = &self.connector;
        let wire = connector.encryption.wire(&self.runtime, host, stream, connector.decoder());
        let wire = wire.await?;
        let greeting = Box::pin(connector.log_in(&wire)).await.map_err(Failed::Handshake)?;
        let (lost, closed) = (Arc::clone(&self.lost), wire.closed());
        self.runtime.spawn(async move {
            closed.await;
            lost.store(true, Ordering::Release);
        });
        let (abandoned, limit) = (Arc::clone(&self.abandoned), connector.limit.clone());
        let (address, channels) = (self.address.clone(), connector.channels.clone());
        Ok(Connection::new(wire, address, greeting, abandoned, limit, channels))
    }
}

impl cache_net::Connector for Server {
    type Connection = Connection;

    async fn connect(&self, _: &Handle) -> Result<Connection> {
        let (clock, time) = (&self.connector.clock, self.connector.time);
        let connecting = Box::pin(with_io_driver(self.open()));
        let error = match within(clock, time, connecting).await {
            Some(Ok(Ok(connection))) => return Ok(connection),
            Some(Ok(Err(Failed::Io(it)))) => connection_error(&it, "cannot connect"),
            Some(Ok(Err(Failed::Handshake(it))) | Err(it)) => it,
            None => Error::new(ErrorKind::TimedOut, format!("cannot connect within {time:?}")),
        };
        Err(error::at(error, &self.address))
    }

    async fn ping(&self, connection: &Connection) {
        connection.ping().await;
    }

    fn is_closed(&self, connection: &Connection) -> bool {
        connection.is_closed()
    }

    fn abort(&self, connection: &Connection) {
        connection.abandon();
    }

    fn peek(&self, connection: &Connection) -> Peek {
        connection.peek()
    }

    fn replies(&self, connection: &Connection) -> u64 {
        connection.received_bytes()
    }
}

impl From<io::Error> for Failed {
    fn from(it: io::Error) -> Self {
        Self::Io(it)
    }
}
