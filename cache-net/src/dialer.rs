//! TCP connections to the addresses of a host, within one timeout.

use std::{io, net::SocketAddr, time::Duration};

use cache_core::Clock;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::{resolve, within};

/// Makes TCP connections. All addresses of a host are tried concurrently with staggered starts, as
/// in [RFC 8305], within one timeout: an address that does not respond does not use up the time of
/// the addresses after it.
///
/// A connection has `TCP_NODELAY`; keepalive probes, so that a NAT or a firewall does not forget it
/// and a dead peer is detected; and `SO_LINGER` 0: closing it resets it, and bytes that are not
/// delivered by then never are. An aborted connection must not deliver a write later, after writes
/// that were acknowledged on its successor. A [`Socket`](crate::Socket) can also close gracefully.
///
/// [RFC 8305]: https://www.rfc-editor.org/rfc/rfc8305
///
/// ```
/// use std::{io, time::Duration};
///
/// use cache_core::Clock;
/// use cache_net::Dialer;
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let port = listener.local_addr()?.port();
/// let dialer = Dialer::new(Duration::from_secs(1), Clock::system());
/// assert!(dialer.connect("127.0.0.1", port).await?.nodelay()?);
///
/// drop(listener);
/// let refused = dialer.connect("127.0.0.1", port).await.unwrap_err();
/// assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Dialer {
    timeout: Duration,
    clock: Clock,
}

/// Why an address failed.
enum Failed<E> {
    Connect(io::Error),
    Handshake(E),
}

/// The "connection attempt delay" of RFC 8305: the time between the starts of two attempts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Idle time before the first probe, interval between probes, maximum of unanswered probes. Common
/// NATs and load balancers forget a connection that is idle for one to six minutes, strict
/// firewalls after half a minute. `TCP_USER_TIMEOUT` is not set: it would close slow connections,
/// which is a decision of the stores' deadlines.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(20), Duration::from_secs(5), 4);

impl Dialer {
    /// Creates a dialer whose connections are made within this time.
    pub fn new(timeout: Duration, clock: Clock) -> Self {
        Self { timeout, clock }
    }

    /// Returns the time within which a connection must be made.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the first connection to an address of this host.
    ///
    /// # Errors
    /// The error of the last address that failed; `TimedOut` after the timeout.
    ///
    /// # Cancel safety
    /// Connections that were made are reset.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        self.connect_with(host, port, async |it| Ok(it)).await
    }

    /// Returns the result of the first handshake, such as a login, with an address of this host. An
    /// address that accepts connections and does not reply does not block the others.
    ///
    /// # Errors
    /// The error of the last handshake that failed, or else of the last address; `TimedOut` after
    /// the timeout.
    ///
    /// # Cancel safety
    /// All attempts are dropped.
    pub async fn connect_with<T, E, F>(
        &self,
        host: &str,
        port: u16,
        handshake: impl Fn(TcpStream) -> F,
    ) -> Result<T, E>
    where
        E: From<io::Error>,
        F: Future<Output = Result<T, E>>,
    {
        self.with_timeout(async {
            let found = resolve(host, port).await?;
            self.race(&interleaved(found), handshake).await
        })
        .await
    }

    /// Returns the result of the first handshake with one of these addresses, preferring the first.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    ///
    /// # Cancel safety
    /// All attempts are dropped.
    pub async fn connect_any<T, E, F>(
        &self,
        addresses: &[SocketAddr],
        handshake: impl Fn(TcpStream) -> F,
    ) -> Result<T, E>
    where
        E: From<io::Error>,
        F: Future<Output = Result<T, E>>,
    {
        self.with_timeout(self.race(addresses, handshake)).await
    }

    /// Returns the time between the starts of this many attempts, for [`staggered`]. All of them
    /// start well before the timeout.
    pub fn attempt_delay(&self, attempts: usize) -> Duration {
        let shares = u32::try_from(attempts).unwrap_or(u32::MAX).saturating_add(1);
        ATTEMPT_DELAY.min(self.timeout / shares)
    }

    async fn with_timeout<T, E: From<io::Error>>(
        &self,
        connecting: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        within(&self.clock, self.timeout, connecting).await.unwrap_or_else(|| {
            let what = format!("no connection within {:?}", self.timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, what).into())
        })
    }

    async fn race<T, E, F>(
        &self,
        addresses: &[SocketAddr],
        handshake: impl Fn(TcpStream) -> F,
    ) -> Result<T, E>
    where
        E: From<io::Error>,
        F: Future<Output = Result<T, E>>,
    {
        let handshake = &handshake;
        let attempts = addresses.iter().copied().map(|it| async move {
            let stream = connect(it).await.map_err(Failed::Connect)?;
            handshake(stream).await.map_err(Failed::Handshake)
        });
        let failed =
            match staggered(&self.clock, self.attempt_delay(addresses.len()), attempts).await {
                Ok(it) => return Ok(it),
                Err(failed) => failed,
            };
        let mut last = None;
        for it in failed {
            match (it, &last) {
                (it @ Failed::Handshake(_), _) | (it, None | Some(Failed::Connect(_))) => {
                    last = Some(it);
                }
                _ => {}
            }
        }
        Err(match last {
            Some(Failed::Handshake(it)) => it,
            Some(Failed::Connect(it)) => it.into(),
            None => io::Error::new(io::ErrorKind::NotFound, "the host has no address").into(),
        })
    }
}

/// Returns the first success of several attempts. The next attempt starts when one fails, or after
/// `delay`; the earlier ones continue.
///
/// # Errors
/// The errors of all attempts, in the order in which they failed.
///
/// # Cancel safety
/// All attempts are dropped.
///
/// ```
/// use std::{future::{Future, pending}, pin::Pin, time::Duration};
///
/// use cache_core::Clock;
/// use cache_net::staggered;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// type Attempt = Pin<Box<dyn Future<Output = Result<u8, &'static str>>>>;
/// let attempts: [Attempt; 3] =
///     [Box::pin(pending()), Box::pin(async { Err("refused") }), Box::pin(async { Ok(3) })];
/// let delay = Duration::from_millis(5);
/// assert_eq!(staggered(&Clock::system(), delay, attempts).await, Ok(3));
/// # }
/// ```
pub async fn staggered<T, E, F: Future<Output = Result<T, E>>>(
    clock: &Clock,
    delay: Duration,
    attempts: impl IntoIterator<Item = F>,
) -> Result<T, Vec<E>> {
    let mut waiting = attempts.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    for attempt in waiting.by_ref() {
        running.push(attempt);
        match within(clock, delay, running.next()).await {
            Some(Some(Ok(it))) => return Ok(it),
            Some(Some(Err(error))) => failed.push(error),
            Some(None) | None => {}
        }
    }
    while let Some(res) = running.next().await {
        match res {
            Ok(it) => return Ok(it),
            Err(error) => failed.push(error),
        }
    }
    Err(failed)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Otherwise a small request waits for the reply to the one before.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO))?;
    let (idle, interval, probes) = KEEPALIVE;
    let keepalive =
        TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// Alternates between IPv4 and IPv6, starting with the family of the first address. If one family
/// is not routed, the second attempt uses the other.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(is_ipv4) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let (first, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|it| it.is_ipv4() == is_ipv4);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut res = Vec::new();
    loop {
        match (first.next(), other.next()) {
            (None, None) => return res,
            (one, two) => res.extend(one.into_iter().chain(two)),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        future::pending,
        net::{Ipv4Addr, TcpListener},
        time::Instant,
    };

    use test_servers::Silent;

    use super::*;

    /// Much longer than any of these tests takes.
    const LONG: Duration = Duration::from_secs(20);

    fn dialer(time: Duration) -> Dialer {
        Dialer::new(time, Clock::system())
    }

    fn listener(last: u8) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn refused() -> SocketAddr {
        listener(1).1
    }

    #[tokio::test]
    async fn silent_address_does_not_delay_the_next() {
        let (silent, (_listening, address)) = (Silent::start().unwrap(), listener(2));
        for silent in [vec![silent.address()], vec![silent.address(); 20]] {
            let addresses = [&silent[..], &[address]].concat();
            let stream = dialer(LONG).connect_any(&addresses, async |it| io::Result::Ok(it)).await;
            assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
        }
    }

    #[tokio::test]
    async fn next_address_is_tried_at_once_after_a_refusal() {
        let (_listening, address) = listener(2);
        let began = Instant::now();
        for _ in 0..20 {
            let addresses = [refused(), refused(), address];
            let stream = dialer(LONG).connect_any(&addresses, async |it| io::Result::Ok(it)).await;
            assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
        }
        assert!(began.elapsed() < ATTEMPT_DELAY * 20, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn address_that_accepts_and_does_not_reply_does_not_block_the_next() {
        let ((_silent, one), (_listening, two)) = (listener(2), listener(3));
        let handshake = async |it: TcpStream| {
            if it.peer_addr()? == one { pending().await } else { io::Result::Ok(it) }
        };
        let stream = dialer(LONG).connect_any(&[one, two], handshake).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), two);
    }

    #[tokio::test]
    async fn all_addresses_silent_fails_with_timed_out_after_the_timeout() {
        let silent = Silent::start().unwrap();
        let addresses = [silent.address(); 8];
        let began = Instant::now();
        let time = Duration::from_millis(300);
        let error = dialer(time).connect_any(&addresses, async |it| io::Result::Ok(it)).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= time && began.elapsed() < LONG, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn error_of_a_handshake_takes_precedence_over_that_of_an_address() {
        let (_listening, address) = listener(2);
        let handshake = async |_| Err::<(), _>(io::Error::other("wrong password"));
        let error = dialer(LONG).connect_any(&[address, refused()], handshake).await.unwrap_err();
        assert_eq!(error.to_string(), "wrong password");
        let error = dialer(LONG).connect_any(&[], handshake).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn connection_has_nodelay_keepalive_and_linger() {
        let (_listening, address) = listener(2);
        let stream = dialer(LONG).connect("127.0.0.2", address.port()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        let times = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        let (time, interval, probes) = KEEPALIVE;
        assert_eq!((times.0.unwrap(), times.1.unwrap()), (time, interval));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), probes);
    }

    #[test]
    fn address_families_alternate() {
        let all = |it: &[&str]| it.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>();
        let found = all(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = all(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleaved(found), expected);
        assert!(interleaved(Vec::new()).is_empty());
    }

    #[test]
    fn all_attempts_start_before_the_timeout() {
        for (time, attempts) in [(1000, 1), (1000, 2), (1000, 10), (20, 3), (0, 5), (9000, 100)] {
            let time = Duration::from_millis(time);
            let pause = dialer(time).attempt_delay(attempts);
            assert!(pause <= ATTEMPT_DELAY && pause * (u32::try_from(attempts).unwrap()) <= time);
        }
    }
}
