//! memcached servers.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;

use crate::{
    install::Package,
    port,
    process::{Kind, Place, Process, Server},
};

/// A memcached server.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
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
}

impl Server for Memcached {
    fn process(&self) -> &Process {
        &self.process
    }
}

/// Options of a [`Memcached`].
#[derive(Clone, Debug, Default)]
pub struct MemcachedOptions {
    args: Vec<String>,
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
    pub fn start(self) -> Result<Memcached> {
        Ok(Memcached { process: Process::start(Arc::new(self))? })
    }
}

impl Kind for MemcachedOptions {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let mut res = vec![Package::Memcached.program(&["memcached"])?.into()];
        let port = place.port.to_string();
        res.extend(["-p", &port, "-l", "127.0.0.1", "-U", "0"].map(OsString::from));
        if rustix::process::geteuid().is_root() {
            // memcached runs as root only on request.
            res.extend(["-u", "root"].map(OsString::from));
        }
        res.extend(self.args.iter().map(OsString::from));
        Ok(res)
    }

    fn replies(&self, place: &Place, pid: u32) -> Result<bool> {
        let limit = Duration::from_secs(60);
        let mut stream = TcpStream::connect_timeout(&port::address(place.port), limit)?;
        stream.set_read_timeout(Some(limit))?;
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
