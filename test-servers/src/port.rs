//! Ports on which nobody listens.

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

/// Below the ports from which the system takes the near end of a connection: a client that calls a killed server
/// could be given the server's own port, would be connected with itself, and the server could not come back.
const FIRST: u16 = 10_000;
const COUNT: u16 = 12_000;

/// What Redis Cluster adds for the port of its bus.
pub(crate) const BUS: u16 = 10_000;

/// A loopback port that is free, as is the one [`BUS`] above it. Within a process none is given out twice before
/// all were; between processes a collision is unlikely, and the server says so.
pub(crate) fn free() -> Result<u16> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [low, high, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
        AtomicU16::new(u16::from_ne_bytes([low, high]))
    });
    let is_free = |port: u16| TcpListener::bind(address(port)).is_ok();
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| is_free(*port) && is_free(port + BUS))
        .context("no free loopback port: stop what listens on them (`ss -ltnp`)")
}

/// Where a server with this port listens.
pub(crate) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_not_given_twice() {
        let a = free().unwrap();
        let b = free().unwrap();
        assert_ne!(a, b);
        TcpListener::bind(address(a)).unwrap();
        TcpListener::bind(address(b)).unwrap();
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let listeners: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind(address(free().unwrap())).unwrap()).collect();
        let ports: Vec<u16> = (0..3).map(|_| free().unwrap()).collect();
        for it in &listeners {
            assert!(!ports.contains(&it.local_addr().unwrap().port()));
        }
    }
}
