//! memcached servers.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;

use crate::{
    authority::{Authority, Identity},
    install::Package,
    port,
    process::{Kind, Place, Process, Server},
    redis::ClientCertificate,
};

/// A memcached server.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
    unix_socket: bool,
}

impl Memcached {
    /// Starts a server with the default options of memcached: 64 MB of memory and values of at most
    /// 1 MB.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start() -> Result<Self> {
        Self::options().start()
    }

    /// Returns options for a server that differs from the default.
    pub fn options() -> MemcachedOptions {
        MemcachedOptions::default()
    }

    /// Returns the URL, `memcache://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("memcache://{}", self.address())
    }

    /// Returns the unix socket, if the options replaced the port by one.
    pub fn socket(&self) -> Option<PathBuf> {
        self.unix_socket.then(|| socket(self.folder()))
    }
}

impl Server for Memcached {
    fn process(&self) -> &Process {
        &self.process
    }
}

/// Options of a [`Memcached`].
#[derive(Clone, Debug, Default)]
pub struct MemcachedOptions {
    users: Option<String>,
    unix_socket: bool,
    tls: Option<Tls>,
    args: Vec<String>,
}

#[derive(Clone, Debug)]
struct Tls {
    authority: Authority,
    names: Vec<String>,
    clients: ClientCertificate,
    /// A port without TLS, for the tests themselves.
    plain_port: u16,
}

impl MemcachedOptions {
    /// Sets the memory for values, in megabytes.
    #[must_use]
    pub fn memory(self, megabytes: u32) -> Self {
        self.args(&["-m", &megabytes.to_string()])
    }

    /// Sets the maximum size of an item (key, value and header), in kilobytes. It must be a power
    /// of two, or a multiple of 512.
    #[must_use]
    pub fn item_size(self, kilobytes: u32) -> Self {
        let res = self.args(&["-I", &format!("{kilobytes}k")]);
        // memcached stores items in chunks of 512 kB, and does not start if items are limited to
        // less.
        if kilobytes < 512 {
            res.args(&["-o", &format!("slab_chunk_max={kilobytes}")])
        } else {
            res
        }
    }

    /// Adds a user, without whose password the server executes no command.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        let users = self.users.unwrap_or_default();
        self.users = Some(format!("{users}{name}:{password}\n"));
        self
    }

    /// Listens on a unix socket instead of the port.
    #[must_use]
    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Enables TLS instead of plain text on the port, with a certificate of this authority for
    /// these names or addresses.
    #[must_use]
    pub fn tls(
        mut self,
        authority: &Authority,
        names: &[&str],
        clients: ClientCertificate,
    ) -> Self {
        let names = names.iter().map(ToString::to_string).collect();
        self.tls = Some(Tls { authority: authority.clone(), names, clients, plain_port: 0 });
        self
    }

    /// Adds further arguments of memcached.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start(mut self) -> Result<Memcached> {
        if let Some(tls) = &mut self.tls {
            tls.plain_port = port::free()?;
        }
        let unix_socket = self.unix_socket;
        Ok(Memcached { process: Process::start(Arc::new(self))?, unix_socket })
    }

    fn connect(&self, place: &Place) -> io::Result<Box<dyn Stream>> {
        let limit = Some(Duration::from_secs(60));
        if self.unix_socket {
            let stream = UnixStream::connect(socket(&place.folder))?;
            stream.set_read_timeout(limit)?;
            return Ok(Box::new(stream));
        }
        let port = self.tls.as_ref().map_or(place.port, |it| it.plain_port);
        let stream = TcpStream::connect(port::address(port))?;
        stream.set_read_timeout(limit)?;
        Ok(Box::new(stream))
    }
}

impl Kind for MemcachedOptions {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        if let Some(users) = &self.users {
            fs::write(users_file(folder), users)?;
        }
        if let Some(tls) = &self.tls {
            tls.authority.issue_server(folder, &tls.names)?;
        }
        Ok(())
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let mut res = vec![Package::Memcached.program(&["memcached"])?.into()];
        if self.unix_socket {
            res.extend(["-s".into(), socket(&place.folder).into()]);
        } else {
            let port = place.port.to_string();
            res.extend(["-p", &port, "-l", "127.0.0.1", "-U", "0"].map(OsString::from));
        }
        if let Some(tls) = &self.tls {
            res.extend(tls.args(&place.folder));
        }
        if self.users.is_some() {
            res.extend(["-Y".into(), users_file(&place.folder).into()]);
        }
        if rustix::process::geteuid().is_root() {
            // memcached runs as root only on request.
            res.extend(["-u", "root"].map(OsString::from));
        }
        res.extend(self.args.iter().map(OsString::from));
        Ok(res)
    }

    fn replies(&self, place: &Place, pid: u32) -> Result<bool> {
        let mut stream = self.connect(place)?;
        stream.write_all(b"stats\r\n")?;
        let ours = format!("STAT pid {pid}");
        for line in BufReader::new(stream).lines() {
            let line = line?;
            // With authentication enabled, this is the only reply.
            if line == ours || line == "CLIENT_ERROR unauthenticated" {
                return Ok(true);
            }
            if line == "END" {
                break;
            }
        }
        Ok(false)
    }
}

impl Tls {
    fn args(&self, folder: &Path) -> Vec<OsString> {
        let Identity { certificate, key } = Identity::of_server(folder);
        let clients = match self.clients {
            ClientCertificate::Ignored => 0,
            ClientCertificate::Optional => 1,
            ClientCertificate::Required => 2,
        };
        let options = format!(
            "ssl_chain_cert={},ssl_key={},ssl_ca_cert={},ssl_verify_mode={clients}",
            certificate.display(),
            key.display(),
            self.authority.certificate().display(),
        );
        let plain = format!("notls:127.0.0.1:{}", self.plain_port);
        ["-Z", "-o", &options, "-l", &plain].map(OsString::from).into()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn socket(folder: &Path) -> PathBuf {
    folder.join("memcached.sock")
}

fn users_file(folder: &Path) -> PathBuf {
    folder.join("users")
}
