//! Free loopback ports.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use anyhow::{Context, Result};

/// Below the ephemeral ports. Otherwise a client that connects to a killed server could get the
/// server's own port, would connect to itself, and the server could not restart.
const FIRST: u16 = 10_000;
const COUNT: u16 = 12_000;

/// The offset of the bus port of Redis Cluster.
pub(crate) const BUS: u16 = 10_000;

/// Returns a free loopback port; the port [`BUS`] above it is free, too. A process gets each port
/// once before it gets any port twice. A collision between processes is unlikely, and the server
/// reports it.
pub(crate) fn free() -> Result<u16> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [low, high, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
        AtomicU16::new(u16::from_ne_bytes([low, high]))
    });
    let is_free = |port: u16| TcpListener::bind(address(port)).is_ok();
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| is_free(*port) && is_free(port + BUS))
        .context("no free loopback port: stop the programs that listen on them (`ss -ltnp`)")
}

/// Returns the address of a server with this port.
pub(crate) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_unique() {
        let a = free().unwrap();
        let b = free().unwrap();
        assert_ne!(a, b);
        TcpListener::bind(address(a)).unwrap();
        TcpListener::bind(address(b)).unwrap();
    }

    #[test]
    fn port_in_use_is_not_returned() {
        let listeners: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind(address(free().unwrap())).unwrap()).collect();
        let ports: Vec<u16> = (0..3).map(|_| free().unwrap()).collect();
        for it in &listeners {
            assert!(!ports.contains(&it.local_addr().unwrap().port()));
        }
    }
}
