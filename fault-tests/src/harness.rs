//! The properties of a store and its server that the tests need.

use std::{any::Any, net::SocketAddr, time::Duration};

use cache_core::{Cache, Caches, Clock};
use test_servers::{Proxy, Server};

/// A store over a network and its server. The test program must link the store.
pub trait Harness: 'static {
    /// A server.
    type Server: Server + 'static;

    /// The store's name in the settings.
    const BACKEND: &'static str;
    /// Whether all calls of a runtime share one connection. Otherwise each call has a connection of
    /// its own until it ends.
    const SHARES_CONNECTIONS: bool;
    /// A value whose transfer takes seconds.
    const LARGE: Large;
    /// The `options` of another protocol or connection mode, in which calls are dropped, too.
    const OTHER_OPTIONS: &'static str;

    /// Starts a server as the store expects it.
    fn start() -> Self::Server;

    /// Returns the `location` of a server at this address.
    fn location(at: SocketAddr) -> String;

    /// Returns the value that the server stores under this key of a cache without a prefix.
    fn stored(server: &Self::Server, key: &str) -> Option<String>;

    /// Returns how many reads the server has answered, for all clients.
    fn reads(server: &Self::Server) -> u64;

    /// Returns a cache over several servers, with these additional lines of settings, and the owner
    /// of the servers.
    fn several_servers(more: &str) -> (Cache, Box<dyn Any>);
}

/// A value that takes seconds to read if each piece of it is delayed a little.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// Its length in bytes.
    pub len: usize,
    /// The delay of a piece.
    pub piece: Duration,
}

/// Builds a cache from settings: backend, location, and additional lines of TOML.
pub fn cache(backend: &str, location: &[impl AsRef<str>], more: &str) -> Cache {
    cache_by(Clock::system(), backend, location, more)
}

/// Builds a cache whose deadlines follow this clock.
pub fn cache_by(clock: Clock, backend: &str, location: &[impl AsRef<str>], more: &str) -> Cache {
    let location: Vec<_> = location.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    let location = location.join(", ");
    let toml =
        format!("[caches.default]\nbackend = \"{backend}\"\nlocation = [{location}]\n{more}\n");
    let caches = Caches::builder().clock(clock).toml(&toml).unwrap().build().unwrap();
    caches.get("default").unwrap().clone()
}

/// Builds a cache on this server.
pub fn cache_on<S: Harness>(server: &S::Server, more: &str) -> Cache {
    cache(S::BACKEND, &[S::location(server.address())], more)
}

/// Builds a cache whose connections go through this proxy.
pub fn cache_through<S: Harness>(proxy: &Proxy, more: &str) -> Cache {
    cache(S::BACKEND, &[S::location(proxy.address())], more)
}
