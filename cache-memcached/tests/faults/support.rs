//! The memcached harness for the tests of all stores, and caches on it.

use std::{any::Any, net::SocketAddr, time::Duration};

use cache_core::Cache;
use cache_memcached as _;
use fault_tests::{Harness, Large};
use test_servers::{Memcached, Proxy, Server as _};

use crate::raw::Raw;

/// This store on memcached.
pub(crate) struct OnMemcached;

impl Harness for OnMemcached {
    type Server = Memcached;

    const BACKEND: &'static str = "memcached";
    const SHARES_CONNECTIONS: bool = true;
    const LARGE: Large = Large { len: 1_000_000, piece: Duration::from_millis(200) };
    const OTHER_OPTIONS: &'static str = "connections = 2";

    fn start() -> Memcached {
        Memcached::start().unwrap()
    }

    fn location(at: SocketAddr) -> String {
        at.to_string()
    }

    fn stored(server: &Memcached, key: &str) -> Option<String> {
        stored(server, key)
    }

    fn reads(server: &Memcached) -> u64 {
        let mut raw = Raw::to(server.address());
        let (mut line, mut res) = (raw.ask("stats").0, 0);
        while line != "END" {
            if let Some(count) = line.strip_prefix("STAT cmd_get ") {
                res = count.parse().unwrap();
            }
            line = raw.line();
        }
        res
    }

    fn several_servers(more: &str) -> (Cache, Box<dyn Any>) {
        let servers: Vec<_> = (0..3).map(|_| Self::start()).collect();
        let at: Vec<_> = servers.iter().map(at).collect();
        (cache(&at, more), Box::new(servers))
    }
}

/// Returns a cache with these settings.
pub(crate) fn cache(location: &[impl AsRef<str>], more: &str) -> Cache {
    fault_tests::cache(OnMemcached::BACKEND, location, more)
}

/// Returns a cache that connects through this proxy.
pub(crate) fn cache_through(proxy: &Proxy, more: &str) -> Cache {
    fault_tests::cache_through::<OnMemcached>(proxy, more)
}

/// Returns the location of a server.
pub(crate) fn at(server: &Memcached) -> String {
    server.address().to_string()
}

/// Returns the server's value of a key of a cache without a prefix.
pub(crate) fn stored(server: &Memcached, key: &str) -> Option<String> {
    let mut raw = Raw::to(server.address());
    let generation = raw.get("!:")?;
    raw.get(&format!("{generation}::1:{key}"))
}
