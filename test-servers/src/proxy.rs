//! A TCP proxy in this process that does to connections what networks do.

mod link;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use self::link::Link;
use crate::wait;

/// A port of its own in front of a server. What it does can be changed at any time, also for connections that are
/// open; it begins with [`Mode::Pass`].
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What a [`Proxy`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards all.
    Pass,
    /// Holds each piece of the server's answers back for at least this long.
    Delay(Duration),
    /// Resets new connections as soon as they are there. Those that are open go on; see [`Proxy::cut`].
    Refuse,
    /// Forwards so many more bytes of the server's answers, then closes the connection in the middle of one, once:
    /// after that it passes all.
    Truncate(usize),
    /// Accepts, reads, and forwards nothing in this direction, not even that the other side has hung up.
    Swallow(Direction),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What clients ask: it is not done.
    ToServer,
    /// What the server answers: it is done, and nobody learns of it.
    ToClient,
    /// All.
    Both,
}

impl Proxy {
    /// One in front of this address.
    pub fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            state: Mutex::new(State { mode: Mode::Pass, links: Vec::new(), closed: false }),
            changed: Condvar::new(),
            accepted: AtomicU64::new(0),
            swallowed: AtomicU64::new(0),
        });
        let accepting = thread::spawn({
            let shared = shared.clone();
            move || shared.accept(&listener)
        });
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where clients connect.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Does this from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.lock().mode = mode;
        self.shared.changed.notify_all();
    }

    /// [`Mode::Pass`]
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// [`Mode::Delay`]
    pub fn delay(&self, by: Duration) {
        self.set(Mode::Delay(by));
    }

    /// [`Mode::Refuse`]
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
    }

    /// [`Mode::Truncate`]
    pub fn truncate_after(&self, bytes: usize) {
        self.set(Mode::Truncate(bytes));
    }

    /// [`Mode::Swallow`]
    pub fn swallow(&self, direction: Direction) {
        self.set(Mode::Swallow(direction));
    }

    /// Swallows from now on, both ways and for good, what goes through the connections that are open: as when the way to
    /// the server is gone and nobody says so. New ones are not concerned, nor is what [`set`](Self::set) says of them.
    pub fn swallow_open(&self) {
        let state = self.shared.lock();
        state.links.iter().filter_map(Weak::upgrade).for_each(|it| it.swallow());
        // Who holds bytes back looks again.
        self.shared.changed.notify_all();
    }

    /// Holds back from now on what clients say on the connections that are open, and that they have hung up: as what is on its way
    /// keeps it, and delivers it later. New connections are not concerned.
    pub fn hold_open(&self) {
        self.each(|it| it.hold(true));
    }

    /// Delivers what was held back, also of clients that are gone.
    pub fn release(&self) {
        self.each(|it| it.hold(false));
    }

    /// How many connections are open of which something was held back that the server has not answered since it was released.
    pub fn held(&self) -> usize {
        let state = self.shared.lock();
        state.links.iter().filter_map(Weak::upgrade).filter(|it| it.was_held()).count()
    }

    fn each(&self, change: impl Fn(&Link)) {
        let state = self.shared.lock();
        state.links.iter().filter_map(Weak::upgrade).for_each(|it| change(&it));
        self.shared.changed.notify_all();
    }

    /// Resets all connections that are open, at both ends. What it does with new ones is not changed, and one that has
    /// not carried a byte yet may count as new.
    ///
    /// # Panics
    /// If one is still open after a while.
    pub fn cut(&self) {
        let links = self.shared.cut();
        let gone = || links.iter().all(|it| it.strong_count() == 0);
        let cut = wait::wait_until("connections are cut", Duration::from_secs(10), gone);
        // panics: promised, a test that cuts nothing proves nothing
        cut.unwrap_or_else(|err| panic!("proxy to {}: {err}", self.shared.server));
    }

    /// How many connections were made to it so far, refused ones among them.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many bytes it has swallowed so far.
    pub fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::SeqCst)
    }

    /// How many connections are open through it.
    pub fn open(&self) -> usize {
        self.shared.lock().links.iter().filter(|it| it.strong_count() > 0).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        // Wakes the thread that waits for it.
        let woken = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take().filter(|_| woken.is_ok()) {
            let _ = accepting.join();
        }
        self.shared.cut();
    }
}

/// What the threads of a proxy know.
#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    /// The mode is another, or a connection is cut: who holds bytes back looks again.
    changed: Condvar,
    accepted: AtomicU64,
    swallowed: AtomicU64,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    links: Vec<Weak<Link>>,
    closed: bool,
}

/// What becomes of some bytes.
#[derive(Debug, PartialEq)]
enum Fate {
    Forwarded,
    Swallowed,
    /// So many are forwarded, then the connection is closed.
    Truncated(usize),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let state = self.lock();
            if state.closed {
                return;
            }
            let Ok(client) = client else { continue };
            self.accepted.fetch_add(1, Ordering::SeqCst);
            if state.mode == Mode::Refuse {
                link::reset(&client);
                continue;
            }
            drop(state);
            let shared = self.clone();
            // Connecting takes as long as the server likes; meanwhile others are accepted.
            thread::spawn(move || shared.serve(client));
        }
    }

    fn serve(self: Arc<Self>, client: TcpStream) {
        let link = match TcpStream::connect(self.server) {
            Ok(server) => Arc::new(Link::new(client, server)),
            Err(_) => return link::reset(&client),
        };
        {
            let mut state = self.lock();
            if state.closed {
                return link.cut();
            }
            state.links.retain(|it| it.strong_count() > 0);
            state.links.push(Arc::downgrade(&link));
        }
        thread::spawn({
            let (shared, link) = (self.clone(), link.clone());
            move || shared.pump(&link, Direction::ToClient)
        });
        self.pump(&link, Direction::ToServer);
    }

    /// Moves bytes in one direction until there are no more.
    fn pump(&self, link: &Link, direction: Direction) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let n = match link.read(direction, &mut bytes) {
                Ok(n) => n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                // One side was reset, so the other is.
                Err(_) => return link.cut(),
            };
            let written = match self.fate(link, direction, n) {
                _ if link.is_cut() => return,
                Fate::Swallowed if n == 0 => return,
                Fate::Swallowed => {
                    self.swallowed.fetch_add(n as u64, Ordering::SeqCst);
                    Ok(())
                }
                _ if n == 0 => return link.finish(direction),
                Fate::Forwarded => link.write(direction, &bytes[..n]),
                Fate::Truncated(n) => {
                    let _ = link.write(direction, &bytes[..n]);
                    return link.close();
                }
            };
            if written.is_err() {
                return link.cut();
            }
        }
    }

    /// Decides about `n` bytes, once it is time. 0 is the end of all bytes.
    fn fate(&self, link: &Link, direction: Direction, n: usize) -> Fate {
        let arrived = Instant::now();
        let is_answer = direction == Direction::ToClient;
        let mut state = self.lock();
        if is_answer {
            link.answered();
        }
        loop {
            if link.is_swallowed() {
                return Fate::Swallowed;
            }
            if link.is_held() && !is_answer && !link.is_cut() {
                link.holds();
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            match &mut state.mode {
                Mode::Delay(by) if is_answer && !link.is_cut() => {
                    let left = by.saturating_sub(arrived.elapsed());
                    if left.is_zero() {
                        return Fate::Forwarded;
                    }
                    let woken = self.changed.wait_timeout(state, left);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                Mode::Truncate(left) if is_answer => {
                    if n < *left || n == 0 {
                        *left -= n;
                        return Fate::Forwarded;
                    }
                    let last = *left;
                    state.mode = Mode::Pass;
                    return Fate::Truncated(last);
                }
                Mode::Swallow(it) if *it == direction || *it == Direction::Both => {
                    return Fate::Swallowed;
                }
                _ => return Fate::Forwarded,
            }
        }
    }

    /// Has all connections reset, and tells which they were.
    fn cut(&self) -> Vec<Weak<Link>> {
        let links = std::mem::take(&mut self.lock().links);
        links.iter().filter_map(Weak::upgrade).for_each(|it| it.cut());
        self.changed.notify_all();
        links
    }
}
