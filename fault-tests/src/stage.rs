//! What the tests must know about a store and its server.

use std::{any::Any, net::SocketAddr, time::Duration};

use cache_core::{Cache, Caches};
use test_servers::{Proxy, Server};

/// A store over a network and its server. The program that runs the tests links the store.
pub trait Stage: 'static {
    /// A server.
    type Server: Server + 'static;

    /// The store's name in the settings.
    const BACKEND: &'static str;
    /// Whether all calls of a runtime share one connection, and so what becomes of it. Otherwise each has one for as long as it takes.
    const SHARES_CONNECTIONS: bool;
    /// A value that takes long.
    const LARGE: Large;
    /// The `options` of another way to talk to the server: calls may be dropped there, too.
    const OTHERWISE: &'static str;

    /// A server, as the store expects it.
    fn start() -> Self::Server;

    /// How the settings name a server that is reached here.
    fn location(at: SocketAddr) -> String;

    /// What the server holds under this key of a cache without a prefix.
    fn stored(server: &Self::Server, key: &str) -> Option<String>;

    /// How many reads the server has answered, of whomever.
    fn reads(server: &Self::Server) -> u64;

    /// A cache over several servers, by settings of these lines besides, and what keeps them running.
    fn several(more: &str) -> (Cache, Box<dyn Any>);
}

/// A value that takes seconds to read, if each piece of it is held up a little.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// How long it is.
    pub len: usize,
    /// How long a piece is held up.
    pub piece: Duration,
}

/// A cache by settings.
pub fn cache(backend: &str, location: &[impl AsRef<str>], more: &str) -> Cache {
    let location: Vec<_> = location.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    let location = location.join(", ");
    let toml =
        format!("[caches.default]\nbackend = \"{backend}\"\nlocation = [{location}]\n{more}\n");
    Caches::from_toml(&toml).unwrap().get("default").unwrap().clone()
}

/// A cache on this server.
pub fn cache_on<S: Stage>(server: &S::Server, more: &str) -> Cache {
    cache(S::BACKEND, &[S::location(server.address())], more)
}

/// A cache whose calls go through this proxy.
pub fn cache_through<S: Stage>(proxy: &Proxy, more: &str) -> Cache {
    cache(S::BACKEND, &[S::location(proxy.address())], more)
}
