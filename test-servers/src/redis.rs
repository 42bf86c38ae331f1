//! Single Redis servers.

mod cluster;
mod lag;
mod new_node;
mod replicas;
mod resharding;
mod sentinel;
mod slot;
mod valkey;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

pub(crate) use self::valkey::program as valkey;
pub use self::{
    cluster::RedisCluster,
    new_node::NewNode,
    replicas::RedisReplicas,
    resharding::Move,
    sentinel::{Sentinel, Sentinels},
    slot::slot_of,
};
use crate::{
    authority::{Authority, Identity},
    install::Package,
    port,
    process::{Kind, Place, Process, Server},
    resp::{self, Connection, Reply},
};

/// The names of the program in order of preference. Valkey is a fork of Redis.
const PROGRAMS: &[&str] = &["redis-server", "valkey-server"];

/// A Redis server without persistence: it is empty after a restart.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    options: RedisOptions,
}

impl Redis {
    /// Starts a server without a password.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start() -> Result<Self> {
        Self::options().start()
    }

    /// Returns options for a server that differs from the default.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// Returns the URL, including user and password: `redis://127.0.0.1:…`, or
    /// `rediss://127.0.0.1:…` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}{}", self.options.login(), self.address())
    }

    /// Returns the unix socket, if the options enabled it.
    pub fn socket(&self) -> Option<PathBuf> {
        self.options.unix_socket.then(|| socket(self.folder()))
    }

    /// Opens a connection and logs in, without a client library. A server with TLS is connected by
    /// a unix socket.
    ///
    /// # Errors
    /// If the connection or the login fails.
    pub fn connect(&self) -> Result<Connection> {
        self.options.connect(self.process.place())
    }

    /// Sends one command on a new connection and returns the reply.
    ///
    /// # Errors
    /// If the connection fails or the server replies with an error.
    pub fn command(&self, words: &[&str]) -> Result<Reply> {
        self.connect()?.command(words)
    }
}

impl Server for Redis {
    fn process(&self) -> &Process {
        &self.process
    }
}

/// Options of a [`Redis`].
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    password: Option<String>,
    user: Option<(String, String)>,
    unix_socket: bool,
    tls: Option<Tls>,
    is_valkey: bool,
    args: Vec<String>,
}

/// Whether a server with TLS requests a client certificate of its own authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// The server does not request a certificate.
    #[default]
    Ignored,
    /// The server requests a certificate and also serves clients without one.
    Optional,
    /// The server refuses clients without a certificate.
    Required,
}

#[derive(Clone, Debug)]
struct Tls {
    authority: Authority,
    names: Vec<String>,
    clients: ClientCertificate,
}

impl RedisOptions {
    /// Sets the password of the default user. Passwords and user names must be letters and digits,
    /// so that they need no encoding in a URL.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self.args(&["--requirepass", password, "--masterauth", password])
    }

    /// Adds a user with a password and ACL rules, such as `["~app:*", "+@all"]`. The URL logs in as
    /// this user.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str, rules: &[&str]) -> Self {
        self.user = Some((name.into(), password.into()));
        self.args(&["--user", name, "on", &format!(">{password}")]).args(rules)
    }

    /// Enables a unix socket in addition to the port.
    #[must_use]
    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Enables TLS instead of plain text on the port, with a certificate of this authority for
    /// `localhost` and `127.0.0.1`, and without client certificates. Replicas use TLS with their
    /// leader; Sentinels and clusters do not support it.
    #[must_use]
    pub fn tls(self, authority: &Authority) -> Self {
        self.tls_with(authority, &["localhost", "127.0.0.1"], ClientCertificate::Ignored)
    }

    /// Like [`tls`](Self::tls), with a certificate for these names or addresses, and with this
    /// policy for client certificates.
    #[must_use]
    pub fn tls_with(
        mut self,
        authority: &Authority,
        names: &[&str],
        clients: ClientCertificate,
    ) -> Self {
        let names = names.iter().map(ToString::to_string).collect();
        self.tls = Some(Tls { authority: authority.clone(), names, clients });
        self
    }

    /// Runs Valkey 9.1, which has newer commands than the server of Debian.
    #[must_use]
    pub fn valkey(mut self) -> Self {
        self.is_valkey = true;
        self
    }

    /// Sets the memory for values and the policy when it is full: `noeviction`, `allkeys-lru`, …
    #[must_use]
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.args(&["--maxmemory", &bytes.to_string(), "--maxmemory-policy", policy])
    }

    /// Adds further arguments of redis-server.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start(self) -> Result<Redis> {
        let process = Process::start(Arc::new(Standalone(self.clone())))?;
        Ok(Redis { process, options: self })
    }

    fn login(&self) -> String {
        match (&self.user, &self.password) {
            (Some((name, password)), _) => format!("{name}:{password}@"),
            (None, Some(password)) => format!(":{password}@"),
            (None, None) => String::new(),
        }
    }

    /// Connects as the default user, which has all permissions.
    fn connect(&self, place: &Place) -> Result<Connection> {
        let mut res = if self.tls.is_some() {
            Connection::open_unix(&socket(&place.folder))?
        } else {
            Connection::open(port::address(place.port))?
        };
        if let Some(password) = &self.password {
            res.command(&["AUTH", password])?;
        }
        Ok(res)
    }
}

/// A server that is configured by command-line arguments only.
#[derive(Debug)]
struct Standalone(RedisOptions);

impl Kind for Standalone {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        if let Some(tls) = &self.0.tls {
            tls.authority.issue_server(folder, &tls.names)?;
        }
        Ok(())
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let mut res = if self.0.is_valkey { vec![valkey::program()?.into()] } else { program()? };
        let port = place.port.to_string();
        res.extend(["--bind", "127.0.0.1"].map(OsString::from));
        match &self.0.tls {
            Some(tls) => res.extend(tls.args(&port, &place.folder)),
            None => res.extend(["--port", &port].map(OsString::from)),
        }
        res.extend(["--save", "", "--appendonly", "no"].map(OsString::from));
        res.extend(["--dir".into(), place.folder.clone().into()]);
        // With TLS, the tests connect by the socket.
        if self.0.unix_socket || self.0.tls.is_some() {
            res.extend(["--unixsocket".into(), socket(&place.folder).into()]);
        }
        res.extend(self.0.args.iter().map(OsString::from));
        Ok(res)
    }

    fn replies(&self, place: &Place, pid: u32) -> Result<bool> {
        let mut connection = self.0.connect(place)?;
        let is_ours = is_process(&mut connection, pid)?;
        // Tests limit and count the clients of a server.
        connection.quit()?;
        Ok(is_ours)
    }
}

impl Tls {
    fn args(&self, port: &str, folder: &Path) -> Vec<OsString> {
        let Identity { certificate, key } = Identity::of_server(folder);
        let clients = match self.clients {
            ClientCertificate::Ignored => "no",
            ClientCertificate::Optional => "optional",
            ClientCertificate::Required => "yes",
        };
        let mut res: Vec<OsString> = ["--port", "0", "--tls-port", port].map(Into::into).into();
        res.extend(["--tls-auth-clients", clients, "--tls-replication", "yes"].map(OsString::from));
        res.extend(["--tls-ca-cert-file".into(), self.authority.certificate().into()]);
        res.extend(["--tls-cert-file".into(), certificate.into()]);
        res.extend(["--tls-key-file".into(), key.into()]);
        res
    }
}

fn program() -> Result<Vec<OsString>> {
    Ok(vec![Package::Redis.program(PROGRAMS)?.into()])
}

fn is_process(connection: &mut Connection, pid: u32) -> Result<bool> {
    let info = connection.command(&["INFO", "server"])?.text();
    Ok(resp::field(&info, "process_id") == Some(pid.to_string().as_str()))
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

/// Returns the server of a group that listens on this port.
fn by_port(nodes: &[Redis], port: u16) -> Result<&Redis> {
    let found = nodes.iter().find(|it| it.port() == port);
    found.with_context(|| format!("no server of this group listens on port {port}"))
}
