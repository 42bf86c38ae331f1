//! The two ends of one connection through a proxy.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use super::Direction;

/// How long a thread that writes to someone who does not read goes without a look at whether it is cut.
const LOOK: Duration = Duration::from_millis(50);

/// A client and its server. It is closed when both threads that move bytes have left it.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    is_cut: AtomicBool,
    is_swallowed: AtomicBool,
    is_held: AtomicBool,
    was_held: AtomicBool,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Self {
        for it in [&client, &server] {
            // Either works without, only later or less promptly.
            let _ = it.set_nodelay(true);
            let _ = it.set_write_timeout(Some(LOOK));
        }
        let [is_cut, is_swallowed, is_held, was_held] = [false; 4].map(AtomicBool::new);
        Self { client, server, is_cut, is_swallowed, is_held, was_held }
    }

    /// Reads what goes in this direction.
    pub(super) fn read(&self, direction: Direction, bytes: &mut [u8]) -> io::Result<usize> {
        self.ends(direction).0.read(bytes)
    }

    /// Writes all of it, however long the receiver takes; an error once the link is cut.
    pub(super) fn write(&self, direction: Direction, mut bytes: &[u8]) -> io::Result<()> {
        let mut to = self.ends(direction).1;
        while !bytes.is_empty() && !self.is_cut() {
            match to.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(err) => match err.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    _ => return Err(err),
                },
            }
        }
        Ok(())
    }

    /// Tells the receiver that there is no more.
    pub(super) fn finish(&self, direction: Direction) {
        let _ = self.ends(direction).1.shutdown(Shutdown::Write);
    }

    /// Closes both ends in good order.
    pub(super) fn close(&self) {
        for it in [&self.client, &self.server] {
            let _ = it.shutdown(Shutdown::Both);
        }
    }

    /// Has both ends reset as soon as their threads have left.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for it in [&self.client, &self.server] {
            reset(it);
            // Wakes who reads, and says nothing to the other side.
            let _ = it.shutdown(Shutdown::Read);
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// Has all bytes swallowed.
    pub(super) fn swallow(&self) {
        self.is_swallowed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_swallowed(&self) -> bool {
        self.is_swallowed.load(Ordering::SeqCst)
    }

    /// Has what the client says held back, or lets it go.
    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::SeqCst);
    }

    /// Notes that there is something that is held back.
    pub(super) fn holds(&self) {
        self.was_held.store(true, Ordering::SeqCst);
    }

    /// Notes that the server has said something: what was held back and has been released has arrived.
    pub(super) fn answered(&self) {
        if !self.is_held() {
            self.was_held.store(false, Ordering::SeqCst);
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::SeqCst)
    }

    pub(super) fn was_held(&self) -> bool {
        self.was_held.load(Ordering::SeqCst)
    }

    /// From where to where.
    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        if direction == Direction::ToClient {
            (&self.server, &self.client)
        } else {
            (&self.client, &self.server)
        }
    }
}

/// Makes closing it a reset, which an abort of the other side looks like.
pub(super) fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}
