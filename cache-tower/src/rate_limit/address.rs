use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use cache_core::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderValue, request::Parts};
use ipnet::IpNet;

use super::forwarded;

/// The address of the client of a request, also behind proxies.
///
/// A client can send any `Forwarded` or `X-Forwarded-For` header, so neither is read unless the
/// proxies of the service are given, and only the header that these proxies set. From the right,
/// the last address that does not belong to a proxy is the client: addresses further left were sent
/// by the client itself. An entry that is not an address (`unknown`, or an obfuscated name) ends
/// the search, and the proxy that sent it counts as the client.
///
/// ```
/// use cache_tower::rate_limit::ClientAddress;
/// use std::net::IpAddr;
///
/// # fn main() -> cache_core::Result<()> {
/// // Without an axum server, a layer of the service sets the extension.
/// let address = ClientAddress::of_peer(|parts| parts.extensions.get::<IpAddr>().copied())
///     .behind_x_forwarded_for(["10.0.0.0/8", "::1"])?;
///
/// let request = http::Request::builder()
///     .extension("10.0.0.7".parse::<IpAddr>().unwrap())
///     .header("x-forwarded-for", "1.1.1.1, 192.0.2.43, 10.0.0.8")
///     .body(())
///     .unwrap();
/// let (parts, ()) = request.into_parts();
/// assert_eq!(address.of(&parts), Some("192.0.2.43".parse().unwrap()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClientAddress {
    peer: Arc<Peer>,
    header: Option<Header>,
    proxies: Arc<[IpNet]>,
    ipv6_prefix: u8,
}

type Peer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

#[derive(Clone, Copy, Debug)]
enum Header {
    Forwarded,
    XForwardedFor,
}

impl ClientAddress {
    /// Takes the address of the peer of the connection: `peer` returns it. In an axum service it is
    /// in the extension `ConnectInfo<SocketAddr>`. No header is read.
    pub fn of_peer(peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Self { peer: Arc::new(peer), header: None, proxies: Arc::new([]), ipv6_prefix: 64 }
    }

    /// Reads the header `X-Forwarded-For` of requests from `proxies`: addresses or networks
    /// (`10.0.0.0/8`). It replaces the proxies of an earlier call.
    ///
    /// # Errors
    /// `Config` if a proxy is not an address or a network.
    pub fn behind_x_forwarded_for<P: AsRef<str>>(
        self,
        proxies: impl IntoIterator<Item = P>,
    ) -> Result<Self> {
        self.behind(Header::XForwardedFor, proxies)
    }

    /// Reads the header `Forwarded` (RFC 7239) of requests from `proxies`: addresses or networks
    /// (`10.0.0.0/8`). It replaces the proxies of an earlier call.
    ///
    /// # Errors
    /// `Config` if a proxy is not an address or a network.
    pub fn behind_forwarded<P: AsRef<str>>(
        self,
        proxies: impl IntoIterator<Item = P>,
    ) -> Result<Self> {
        self.behind(Header::Forwarded, proxies)
    }

    /// Sets how many bits of an IPv6 address a [key](super::ClientKey::address) contains: 64 by
    /// default, because a client usually has a network of that size, and could use another address
    /// for each request. 128 or more is the whole address.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = bits;
        self
    }

    /// Returns the address of the client. `None` if the peer is not known.
    pub fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let mut client = (self.peer)(parts)?.to_canonical();
        let Some(header) = self.header else {
            return Some(client);
        };
        for hop in header.hops(&parts.headers).into_iter().rev() {
            if !self.proxies.iter().any(|it| it.contains(&client)) {
                break;
            }
            match hop {
                Some(hop) => client = hop.to_canonical(),
                None => break,
            }
        }
        Some(client)
    }

    /// Returns the address of the client, and only the prefix of an IPv6 address.
    pub(super) fn network_of(&self, parts: &Parts) -> Option<IpAddr> {
        match self.of(parts)? {
            IpAddr::V6(address) => {
                let hidden = 128_u32.saturating_sub(self.ipv6_prefix.into());
                let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
                Some(Ipv6Addr::from_bits(address.to_bits() & mask).into())
            }
            address @ IpAddr::V4(_) => Some(address),
        }
    }

    fn behind<P: AsRef<str>>(
        mut self,
        header: Header,
        proxies: impl IntoIterator<Item = P>,
    ) -> Result<Self> {
        self.proxies = proxies.into_iter().map(|it| network(it.as_ref())).collect::<Result<_>>()?;
        self.header = Some(header);
        Ok(self)
    }
}

impl Header {
    /// Returns the addresses of all hops, those of later proxies last. `None` is a hop without a
    /// readable address.
    fn hops(self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let values = headers.get_all(match self {
            Self::Forwarded => "forwarded",
            Self::XForwardedFor => "x-forwarded-for",
        });
        let read = |value: &HeaderValue| {
            // The client may have sent bytes that are not text: they stay inside of their hop.
            let text = String::from_utf8_lossy(value.as_bytes());
            match self {
                Self::Forwarded => forwarded::forwarded(&text),
                Self::XForwardedFor => forwarded::x_forwarded_for(&text),
            }
        };
        values.into_iter().flat_map(read).collect()
    }
}

fn network(text: &str) -> Result<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| {
        let what = "a proxy is not an address or a network: write `192.0.2.1` or `10.0.0.0/8`";
        Error::new(ErrorKind::Config, what).with_context("proxy", text)
    })
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAddress")
            .field("header", &self.header)
            .field("proxies", &self.proxies)
            .field("ipv6_prefix", &self.ipv6_prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the client of a request that the proxy 10.0.0.7 passed on.
    fn client(header: &'static str, value: &[u8]) -> IpAddr {
        let peer = ClientAddress::of_peer(|_| "10.0.0.7".parse().ok());
        let address = match header {
            "forwarded" => peer.behind_forwarded(["10.0.0.0/8"]),
            _ => peer.behind_x_forwarded_for(["10.0.0.0/8"]),
        };
        let request =
            http::Request::builder().header(header, HeaderValue::from_bytes(value).unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        address.unwrap().of(&parts).unwrap()
    }

    #[test]
    fn foreign_byte_of_the_client_does_not_hide_the_entry_of_the_proxy() {
        let expected: IpAddr = "192.0.2.43".parse().unwrap();
        assert_eq!(client("x-forwarded-for", b"\xff, 192.0.2.43"), expected);
        assert_eq!(client("x-forwarded-for", b"1.1.1.1, \xff, 192.0.2.43, 10.0.0.8"), expected);
        assert_eq!(client("forwarded", b"for=\xff, for=192.0.2.43"), expected);
        assert_eq!(client("forwarded", b"for=1.1.1.1;x=\"\xff\", for=192.0.2.43"), expected);
        // The hop itself is not readable, so the proxy counts as the client.
        let proxy: IpAddr = "10.0.0.7".parse().unwrap();
        assert_eq!(client("x-forwarded-for", b"1.1.1.1, 192.0.2.43\xff"), proxy);
        assert_eq!(client("x-forwarded-for", b"1.1.1.1, 192.0.2.43\xc2\xa0"), proxy);
        assert_eq!(client("forwarded", b"for=192.0.2.43;x=\""), proxy);
    }
}
