//! A connection through a proxy.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests of clients: the server does not execute them.
    ToServer,
    /// Replies of the server: it has executed the request, and the client does not learn about it.
    ToClient,
    /// Both directions.
    Both,
}

/// The streams of a client and of the server. They close when both forwarding threads have dropped
/// the link.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    is_cut: AtomicBool,
    is_swallowed: AtomicBool,
    is_held: AtomicBool,
    was_held: AtomicBool,
}

/// The interval in which a blocked write checks whether the connection was cut.
const CUT_CHECK: Duration = Duration::from_millis(50);

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Self {
        for it in [&client, &server] {
            // Optional: without these, forwarding and cutting only take longer.
            let _ = it.set_nodelay(true);
            let _ = it.set_write_timeout(Some(CUT_CHECK));
        }
        let [is_cut, is_swallowed, is_held, was_held] = [false; 4].map(AtomicBool::new);
        Self { client, server, is_cut, is_swallowed, is_held, was_held }
    }

    /// Reads bytes that flow in this direction.
    pub(super) fn read(&self, direction: Direction, bytes: &mut [u8]) -> io::Result<usize> {
        self.ends(direction).0.read(bytes)
    }

    /// Writes all bytes, for as long as the receiver takes. Stops when the link is cut.
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

    /// Closes the connection to the receiver for writing.
    pub(super) fn finish(&self, direction: Direction) {
        let _ = self.ends(direction).1.shutdown(Shutdown::Write);
    }

    /// Closes both ends gracefully.
    pub(super) fn close(&self) {
        for it in [&self.client, &self.server] {
            let _ = it.shutdown(Shutdown::Both);
        }
    }

    /// Resets both ends when their threads have dropped the link.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for it in [&self.client, &self.server] {
            reset(it);
            // Wakes the reading thread and sends nothing to the other side.
            let _ = it.shutdown(Shutdown::Read);
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// Makes all further bytes be swallowed.
    pub(super) fn swallow(&self) {
        self.is_swallowed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_swallowed(&self) -> bool {
        self.is_swallowed.load(Ordering::SeqCst)
    }

    /// Sets whether bytes of the client are held.
    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::SeqCst);
    }

    /// Records that bytes are held.
    pub(super) fn holds(&self) {
        self.was_held.store(true, Ordering::SeqCst);
    }

    /// Records a reply of the server: released bytes have arrived.
    pub(super) fn replied(&self) {
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

    /// Returns source and destination.
    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        if direction == Direction::ToClient {
            (&self.server, &self.client)
        } else {
            (&self.client, &self.server)
        }
    }
}

/// Makes the close of the stream a reset.
pub(super) fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}
