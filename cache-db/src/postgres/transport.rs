//! The way to a server: which of its hosts, by TCP or a Unix socket, with or without TLS.

use std::{
    future::poll_fn,
    hash::{BuildHasher as _, RandomState},
    io,
    sync::Arc,
};

use cache_core::{Clock, Result, store::BuildContext};
use cache_net::{Dialer, Socket, SocketHandle, TlsFiles, staggered};
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error as PgError, SimpleQueryMessage,
    config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs},
};

/// How bytes get to the server.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Plain,
    #[cfg(feature = "postgres-tls")]
    Tls(super::tls::Tls),
}

impl Transport {
    /// Uses TLS if the URL requires it or certificate files are set. The client's default,
    /// `sslmode=prefer`, verifies no certificate, so it counts as no TLS.
    #[cfg(feature = "postgres-tls")]
    pub(crate) fn new(
        context: &BuildContext<'_>,
        mut config: Config,
        files: Option<&TlsFiles>,
    ) -> Result<(Config, Self)> {
        if config.get_ssl_mode() == SslMode::Require || files.is_some() {
            config.ssl_mode(SslMode::Require);
            let tls = cache_net::Tls::new(context, &files.cloned().unwrap_or_default())?;
            return Ok((config, Self::Tls(super::tls::Tls(tls))));
        }
        config.ssl_mode(SslMode::Disable);
        Ok((config, Self::Plain))
    }

    /// Refuses TLS, which needs a feature.
    #[cfg(not(feature = "postgres-tls"))]
    pub(crate) fn new(
        context: &BuildContext<'_>,
        mut config: Config,
        files: Option<&TlsFiles>,
    ) -> Result<(Config, Self)> {
        if config.get_ssl_mode() == SslMode::Require || files.is_some() {
            let what = "requires TLS, which needs a feature: cache-db = { …, features = [\"postgres-tls\"] } in Cargo.toml";
            let setting = if files.is_some() { "options.tls" } else { "location" };
            return Err(context.error(setting, what));
        }
        config.ssl_mode(SslMode::Disable);
        Ok((config, Self::Plain))
    }

    /// Connects to the first host that serves, within one deadline for all. The next host is tried
    /// when one fails or does not answer soon. `receiver` gets the payloads of notifications.
    pub(crate) async fn connect(
        &self,
        config: &Config,
        dial: &Dialer,
        clock: &Clock,
        receiver: Option<&PayloadReceiver>,
    ) -> Result<Link, Failure> {
        let targets = targets(config);
        let pause = dial.attempt_delay(targets.len());
        let attempts =
            targets.into_iter().map(|it| Box::pin(self.connect_to(it, config, dial, receiver)));
        let failed = match staggered(clock, pause, attempts).await {
            Ok(it) => return Ok(it),
            Err(it) => it,
        };
        // An answer of a server tells more than a failed connection.
        let told = failed.into_iter().max_by_key(|it| match it {
            Failure::Io(_) => 0,
            Failure::Attributes => 1,
            Failure::Server(_) => 2,
        });
        Err(told.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound).into()))
    }

    async fn connect_to(
        &self,
        target: Target,
        config: &Config,
        dial: &Dialer,
        receiver: Option<&PayloadReceiver>,
    ) -> Result<Link, Failure> {
        match target.host {
            Host::Tcp(host) => {
                let log_in = |it| self.log_in(Socket::new(it), &target.name, config, receiver);
                dial.connect_with(&host, target.port, log_in).await
            }
            #[cfg(unix)]
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", target.port));
                let stream = tokio::net::UnixStream::connect(path).await?;
                self.log_in(Socket::new(stream), &target.name, config, receiver).await
            }
        }
    }

    async fn log_in(
        &self,
        (stream, socket): (Socket, SocketHandle),
        name: &str,
        config: &Config,
        receiver: Option<&PayloadReceiver>,
    ) -> Result<Link, Failure> {
        let (client, io_task): (Client, IoTask) = match self {
            Self::Plain => {
                let _ = name;
                let raw = config.connect_raw(stream, tokio_postgres::NoTls).await?;
                (raw.0, io_task(raw.1, receiver))
            }
            #[cfg(feature = "postgres-tls")]
            Self::Tls(tls) => {
                let raw = config.connect_raw(stream, tls.to(name)?).await?;
                (raw.0, io_task(raw.1, receiver))
            }
        };
        let link = Link { client, io_task, socket };
        match config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => link.require_read_only(false).await,
            TargetSessionAttrs::ReadOnly => link.require_read_only(true).await,
            _ => Ok(link),
        }
    }
}

/// The future that drives the I/O of a connection.
pub(crate) type IoTask = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
/// Receives the payloads of notifications, in order. It does not block.
pub(crate) type PayloadReceiver = Arc<dyn Fn(&str) + Send + Sync>;

fn io_task<S, T>(mut connection: Connection<S, T>, receiver: Option<&PayloadReceiver>) -> IoTask
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(receiver) = receiver.cloned() else {
        return Box::pin(async move { drop(connection.await) });
    };
    Box::pin(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(it) = message {
                receiver(it.payload());
            }
        }
    })
}

/// A connection that is logged in.
pub(crate) struct Link {
    pub(crate) client: Client,
    /// Drives its I/O until it ends.
    pub(crate) io_task: IoTask,
    pub(crate) socket: SocketHandle,
}

/// Why a connection attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    Server(PgError),
    /// The host does not match `target_session_attrs`.
    Attributes,
}

impl From<io::Error> for Failure {
    fn from(it: io::Error) -> Self {
        Self::Io(it)
    }
}

impl From<PgError> for Failure {
    fn from(it: PgError) -> Self {
        Self::Server(it)
    }
}

impl Link {
    /// Returns the connection if the server is read-only, or is not, as requested.
    async fn require_read_only(self, read_only: bool) -> Result<Self, Failure> {
        let Self { client, io_task, socket } = self;
        let query = Box::pin(client.simple_query("SHOW transaction_read_only"));
        let (reply, io_task) = match select(query, io_task).await {
            Either::Left((reply, io_task)) => (reply?, io_task),
            Either::Right(((), query)) => (query.await?, Box::pin(async {}) as IoTask),
        };
        let is = reply.iter().find_map(|it| match it {
            SimpleQueryMessage::Row(row) => row.get(0).map(|it| it == "on"),
            _ => None,
        });
        if is == Some(!read_only) {
            return Err(Failure::Attributes);
        }
        Ok(Self { client, io_task, socket })
    }
}

/// A host of the URL.
struct Target {
    /// Its address.
    host: Host,
    port: u16,
    /// The name in its certificate.
    name: String,
}

fn targets(config: &Config) -> Vec<Target> {
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let target = |i: usize| {
        let host = match addresses.get(i) {
            Some(it) => Host::Tcp(it.to_string()),
            None => hosts.get(i)?.clone(),
        };
        let name = match hosts.get(i) {
            Some(Host::Tcp(it)) => it.clone(),
            _ => String::new(),
        };
        // One port may apply to all hosts.
        let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        Some(Target { host, port, name })
    };
    let mut res: Vec<Target> = (0..hosts.len().max(addresses.len())).filter_map(target).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        let dice = RandomState::new();
        res.sort_by_cached_key(|it| dice.hash_one((&it.name, it.port, format!("{:?}", it.host))));
    }
    res
}
