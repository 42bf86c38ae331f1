//! An address that answers nobody, not even that it is there.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A port whose queue of connections is full: who connects to it hears nothing, as behind a firewall that drops packets.
#[derive(Debug)]
pub struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

/// How long it takes to be sure that nobody answers. A connection within one machine is there at once.
const MOMENT: Duration = Duration::from_millis(300);
/// More than a queue without places takes.
const MOST: usize = 16;

impl Silent {
    /// One on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// One at this address.
    pub fn at(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).context("no free port")?;
        // Again, with no place but the one that the system adds.
        rustix::net::listen(&listener, 0)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while queue.len() < MOST {
            match TcpStream::connect_timeout(&address, MOMENT) {
                Ok(it) => queue.push(it),
                Err(err) if err.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Self { address, _listener: listener, _queue: queue });
                }
                Err(err) => return Err(err).context("the queue cannot be filled"),
            }
        }
        bail!("a queue without places took {MOST} connections")
    }

    /// Where nobody answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
