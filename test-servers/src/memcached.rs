//! memcached.

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

/// A memcached.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
}

impl Memcached {
    /// One with 64 MB and values of at most 1 MB, which is what it does if it is told nothing.
    pub fn start() -> Result<Self> {
        Self::options().start()
    }

    /// One that is to be other than usual.
    pub fn options() -> MemcachedOptions {
        MemcachedOptions::default()
    }

    /// `memcache://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("memcache://{}", self.address())
    }
}

impl Server for Memcached {
    fn process(&self) -> &Process {
        &self.process
    }
}

/// How a [`Memcached`] is to be.
#[derive(Clone, Debug, Default)]
pub struct MemcachedOptions {
    args: Vec<String>,
}

impl MemcachedOptions {
    /// The memory for values, in megabytes.
    #[must_use]
    pub fn memory(self, megabytes: u32) -> Self {
        self.args(&["-m", &megabytes.to_string()])
    }

    /// The size of the largest item, in kilobytes: its key, value and header. It is a power of two, or a multiple
    /// of 512.
    #[must_use]
    pub fn item_size(self, kilobytes: u32) -> Self {
        let res = self.args(&["-I", &format!("{kilobytes}k")]);
        // It stores items in pieces of 512 kB, and refuses to start when all items are smaller.
        if kilobytes < 512 {
            res.args(&["-o", &format!("slab_chunk_max={kilobytes}")])
        } else {
            res
        }
    }

    /// Whatever else memcached understands.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Starts it.
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
            // It refuses to be root by accident.
            res.extend(["-u", "root"].map(OsString::from));
        }
        res.extend(self.args.iter().map(OsString::from));
        Ok(res)
    }

    fn answers(&self, place: &Place, pid: u32) -> Result<bool> {
        let limit = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&port::address(place.port), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"stats\r\n")?;
        let ours = format!("STAT pid {pid}");
        for line in BufReader::new(stream).lines() {
            let line = line?;
            // One that wants a password says no more than that.
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
