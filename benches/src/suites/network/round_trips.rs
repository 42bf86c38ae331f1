//! Counts the round trips between a client and a server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;

/// A proxy that counts how often the client sends after a reply: bytes that follow each other in
/// one direction are one trip.
pub(in crate::suites) struct RoundTrips {
    pub(in crate::suites) address: SocketAddr,
    count: Arc<AtomicU64>,
}

impl RoundTrips {
    /// Starts a proxy in front of this server. Its threads end with their connections, and the
    /// thread that accepts them ends with the program.
    pub(in crate::suites) fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, count) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok((client, server)) =
                    client.and_then(|it| Ok((it, TcpStream::connect(server)?)))
                else {
                    continue;
                };
                let _ = serve(&client, &server, &counted);
            }
        });
        Ok(Self { address, count })
    }

    /// Returns the number of round trips since the last call.
    pub(in crate::suites) fn take(&self) -> u64 {
        self.count.swap(0, Ordering::SeqCst)
    }
}

fn serve(client: &TcpStream, server: &TcpStream, count: &Arc<AtomicU64>) -> Result<()> {
    let replied = Arc::new(AtomicBool::new(true));
    let (count, asked) = (Arc::clone(count), Arc::clone(&replied));
    pump(client, server, move || {
        if asked.swap(false, Ordering::SeqCst) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    })?;
    pump(server, client, move || replied.store(true, Ordering::SeqCst))
}

/// Copies bytes on a thread, and calls `note` before each piece.
fn pump(from: &TcpStream, to: &TcpStream, note: impl Fn() + Send + 'static) -> Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    to.set_nodelay(true)?;
    thread::spawn(move || {
        let mut bytes = vec![0; 256 * 1024];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            note();
            if to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_in_two_pieces_is_one_round_trip() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let trips = RoundTrips::to(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(trips.address).unwrap();
        let mut peer = server.accept().unwrap().0;
        let mut bytes = [0; 2];
        for count in 1..=3 {
            for piece in [b"ab", b"cd"] {
                client.write_all(piece).unwrap();
                peer.read_exact(&mut bytes).unwrap();
            }
            peer.write_all(b"ok").unwrap();
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(trips.count.load(Ordering::SeqCst), count);
        }
        assert_eq!((trips.take(), trips.take()), (3, 0));
    }
}
