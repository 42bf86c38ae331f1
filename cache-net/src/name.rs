//! From the name of a host to its addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::LazyLock,
};

use cache_core::Threads;

/// The system's way to look up a name blocks. tokio has threads for that, and panics where none can be started.
static RESOLVERS: LazyLock<Threads> = LazyLock::new(|| Threads::new("resolver", 8));

/// Returns the addresses of a host, as the system sorts them. An IP address needs no thread.
///
/// # Errors
/// That of the system; also if no thread can be started.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let found = cache_net::addresses_of("127.0.0.1", 6379).await?;
/// assert_eq!(found, ["127.0.0.1:6379".parse().unwrap()]);
/// assert!(!cache_net::addresses_of("localhost", 6379).await?.is_empty());
/// # Ok(()) }
/// ```
pub async fn addresses_of(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    let found = RESOLVERS.run(move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    found.await.map_err(|it| io::Error::other(it.message().to_owned()))?
}
