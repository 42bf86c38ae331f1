//! From the name of a host to a connection by TCP, within one deadline for all of its addresses.

use std::{io, net::SocketAddr, time::Duration};

use cache_core::Clock;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::{resolve, within};

/// Connects by TCP. All addresses of a host are tried, one beside the other as [RFC 8305] has it, within one deadline: a silent
/// address does not use up the time of those after it.
///
/// A connection has `TCP_NODELAY`; keepalive probes, so that a NAT or a firewall on the way does not forget it, and a peer that is
/// gone is noticed; and `SO_LINGER` 0: closing it resets it, and what was not delivered by then never is. A connection that is given
/// up must not deliver a write later, behind writes that were acknowledged on its successor. [`Socket`](crate::Socket) has an end
/// in good order besides.
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

/// Why one address did not serve.
enum Failed<E> {
    /// There is no connection.
    Connect(io::Error),
    /// There was one, and the greeting failed.
    Handshake(E),
}

/// The "connection attempt delay" of RFC 8305: how long an attempt goes on alone.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// When an idle connection is probed first, how often then, and how many probes may stay unanswered. Usual NATs and load balancers
/// forget what is idle for one to six minutes, strict firewalls after half a minute. `TCP_USER_TIMEOUT` is not set: it ends what is
/// slow, which is for the stores' own deadlines to decide.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(20), Duration::from_secs(5), 4);

impl Dialer {
    /// Connects within this time.
    pub fn new(timeout: Duration, clock: Clock) -> Self {
        Self { timeout, clock }
    }

    /// How long all of it may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the first connection to an address of this host.
    ///
    /// # Errors
    /// That of the last address that failed; `TimedOut` at the deadline.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        self.connect_with(host, port, async |it| Ok(it)).await
    }

    /// Returns what the first address of this host answers to a greeting, such as a login. An address that takes connections and
    /// says nothing is passed over, too.
    ///
    /// # Errors
    /// That of the last greeting that failed, or else of the last address; `TimedOut` at the deadline.
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
        self.in_time(async {
            let found = resolve(host, port).await?;
            self.race(&interleaved(found), handshake).await
        })
        .await
    }

    /// The same for addresses that are known, best first.
    ///
    /// # Errors
    /// As those of [`greeted`](Self::greeted).
    pub async fn connect_any<T, E, F>(
        &self,
        addresses: &[SocketAddr],
        handshake: impl Fn(TcpStream) -> F,
    ) -> Result<T, E>
    where
        E: From<io::Error>,
        F: Future<Output = Result<T, E>>,
    {
        self.in_time(self.race(addresses, handshake)).await
    }

    /// How long each of so many attempts goes on alone: all are under way well before the deadline. For [`staggered`].
    pub fn attempt_delay(&self, attempts: usize) -> Duration {
        let shares = u32::try_from(attempts).unwrap_or(u32::MAX).saturating_add(1);
        ATTEMPT_DELAY.min(self.timeout / shares)
    }

    async fn in_time<T, E: From<io::Error>>(
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
        let mut refused = None;
        for it in failed {
            match (it, &refused) {
                (it @ Failed::Handshake(_), _) | (it, None | Some(Failed::Connect(_))) => {
                    refused = Some(it);
                }
                _ => {}
            }
        }
        Err(match refused {
            Some(Failed::Handshake(it)) => it,
            Some(Failed::Connect(it)) => it.into(),
            None => io::Error::new(io::ErrorKind::NotFound, "the host has no address").into(),
        })
    }
}

/// Returns the first success of several attempts. The next one begins when one has failed, or when `pause` has passed; those that
/// are under way then go on.
///
/// # Errors
/// The errors of all attempts, in the order in which they failed.
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
/// let pause = Duration::from_millis(5);
/// assert_eq!(staggered(&Clock::system(), pause, attempts).await, Ok(3));
/// # }
/// ```
pub async fn staggered<T, E, F: Future<Output = Result<T, E>>>(
    clock: &Clock,
    pause: Duration,
    attempts: impl IntoIterator<Item = F>,
) -> Result<T, Vec<E>> {
    let mut waiting = attempts.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    for attempt in waiting.by_ref() {
        running.push(attempt);
        match within(clock, pause, running.next()).await {
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
    // Or small requests wait for the answers to those before them.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO))?;
    let (idle, interval, probes) = KEEPALIVE;
    let keepalive =
        TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// The families in turn, beginning with that of the first address. Where one family leads nowhere, the second try is of the other.
fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(is_ipv4) = found.first().map(SocketAddr::is_ipv4) else { return found };
    let (first, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|it| it.is_ipv4() == is_ipv4);
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

    /// Far longer than anything here takes.
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
    async fn silent_address_does_not_keep_the_next_from_being_tried() {
        let (silent, (_live, address)) = (Silent::start().unwrap(), listener(2));
        for silent in [vec![silent.address()], vec![silent.address(); 20]] {
            let addresses = [&silent[..], &[address]].concat();
            let stream = dialer(LONG).connect_any(&addresses, async |it| io::Result::Ok(it)).await;
            assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
        }
    }

    #[tokio::test]
    async fn refused_address_is_followed_by_the_next_at_once() {
        let (_live, address) = listener(2);
        let began = Instant::now();
        for _ in 0..20 {
            let addresses = [refused(), refused(), address];
            let stream = dialer(LONG).connect_any(&addresses, async |it| io::Result::Ok(it)).await;
            assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
        }
        assert!(began.elapsed() < ATTEMPT_DELAY * 20, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn address_that_takes_connections_and_says_nothing_is_passed_over() {
        let ((_mute, one), (_live, two)) = (listener(2), listener(3));
        let handshake = async |it: TcpStream| {
            if it.peer_addr()? == one { pending().await } else { io::Result::Ok(it) }
        };
        let stream = dialer(LONG).connect_any(&[one, two], handshake).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), two);
    }

    #[tokio::test]
    async fn all_addresses_silent_is_timed_out_at_the_deadline() {
        let silent = Silent::start().unwrap();
        let addresses = [silent.address(); 8];
        let began = Instant::now();
        let time = Duration::from_millis(300);
        let error = dialer(time).connect_any(&addresses, async |it| io::Result::Ok(it)).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= time && began.elapsed() < LONG, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn error_of_a_greeting_says_more_than_that_of_an_address() {
        let (_live, address) = listener(2);
        let handshake = async |_| Err::<(), _>(io::Error::other("wrong password"));
        let error = dialer(LONG).connect_any(&[address, refused()], handshake).await.unwrap_err();
        assert_eq!(error.to_string(), "wrong password");
        let error = dialer(LONG).connect_any(&[], handshake).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn connection_is_configured() {
        let (_live, address) = listener(2);
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
    fn families_take_turns() {
        let all = |it: &[&str]| it.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>();
        let found = all(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = all(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleaved(found), expected);
        assert!(interleaved(Vec::new()).is_empty());
    }

    #[test]
    fn attempts_are_all_under_way_before_the_deadline() {
        for (time, attempts) in [(1000, 1), (1000, 2), (1000, 10), (20, 3), (0, 5), (9000, 100)] {
            let time = Duration::from_millis(time);
            let pause = dialer(time).attempt_delay(attempts);
            assert!(pause <= ATTEMPT_DELAY && pause * (u32::try_from(attempts).unwrap()) <= time);
        }
    }
}
