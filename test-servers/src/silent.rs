//! An address that does not respond to connection attempts.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A port whose accept queue is full. A connection attempt gets no response, as behind a firewall
/// that drops packets.
#[derive(Debug)]
pub struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

/// After this time an attempt counts as unanswered. A loopback connection is normally made at once.
const MOMENT: Duration = Duration::from_millis(300);
/// So many attempts in a row must be unanswered: a busy machine may delay one of them.
const UNANSWERED: usize = 2;
/// More connections than a queue of length 0 accepts.
const MOST: usize = 16;

impl Silent {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If the port cannot be opened or the queue cannot be filled.
    pub fn start() -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Listens at this address.
    ///
    /// # Errors
    /// If the port cannot be opened or the queue cannot be filled.
    pub fn at(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).context("no free port")?;
        // Listens again with a queue of length 0; the kernel adds one place.
        rustix::net::listen(&listener, 0)?;
        let address = listener.local_addr()?;
        let (mut queue, mut unanswered) = (Vec::new(), 0);
        while queue.len() < MOST {
            match TcpStream::connect_timeout(&address, MOMENT) {
                Ok(it) => {
                    queue.push(it);
                    unanswered = 0;
                }
                Err(err) if err.kind() == io::ErrorKind::TimedOut => {
                    unanswered += 1;
                    if unanswered == UNANSWERED {
                        return Ok(Self { address, _listener: listener, _queue: queue });
                    }
                }
                Err(err) => return Err(err).context("cannot fill the accept queue"),
            }
        }
        bail!("an accept queue of length 0 accepted {MOST} connections")
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
