//! A TCP proxy that simulates network faults.

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

pub use self::link::Direction;
use self::link::Link;
use crate::wait;

/// A proxy with its own port in front of a server. Its mode can be changed at any time, also for
/// open connections; the initial mode is [`Mode::Pass`].
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// The behaviour of a [`Proxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards all bytes.
    Pass,
    /// Delays each piece of the server's replies by at least this long.
    Delay(Duration),
    /// Resets new connections at once. Open connections continue; see [`Proxy::cut`].
    Refuse,
    /// Forwards this many more bytes of the server's replies, then closes the connection in the
    /// middle of a reply. Afterwards the mode is `Pass`.
    Truncate(usize),
    /// Accepts connections and reads, but forwards nothing in this direction, not even the end of
    /// the connection.
    Swallow(Direction),
}

impl Proxy {
    /// Starts a proxy in front of this address.
    ///
    /// # Errors
    /// If no port is free.
    pub fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                server,
                mode: Mode::Pass,
                links: Vec::new(),
                cuts: 0,
                closed: false,
            }),
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

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port for clients.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Leads new connections to another server, as a host name that has moved.
    pub fn lead_to(&self, server: SocketAddr) {
        self.shared.lock().server = server;
    }

    /// Changes the mode.
    pub fn set(&self, mode: Mode) {
        self.shared.lock().mode = mode;
        self.shared.changed.notify_all();
    }

    /// Sets [`Mode::Pass`].
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// Sets [`Mode::Delay`].
    pub fn delay(&self, by: Duration) {
        self.set(Mode::Delay(by));
    }

    /// Sets [`Mode::Refuse`].
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
    }

    /// Sets [`Mode::Truncate`].
    pub fn truncate_after(&self, bytes: usize) {
        self.set(Mode::Truncate(bytes));
    }

    /// Sets [`Mode::Swallow`].
    pub fn swallow(&self, direction: Direction) {
        self.set(Mode::Swallow(direction));
    }

    /// Swallows all further bytes of the open connections, in both directions and permanently, as
    /// when the network silently drops packets. New connections and the mode are not affected.
    pub fn swallow_open(&self) {
        let state = self.shared.lock();
        state.links.iter().filter_map(Weak::upgrade).for_each(|it| it.swallow());
        // Wakes threads that delay or hold bytes.
        self.shared.changed.notify_all();
    }

    /// Holds all further bytes of clients on the open connections, and the end of these
    /// connections, as a network that delivers them later. New connections are not affected.
    pub fn hold_open(&self) {
        self.each(|it| it.hold(true));
    }

    /// Delivers the held bytes, also those of clients that have disconnected.
    pub fn release(&self) {
        self.each(|it| it.hold(false));
    }

    /// Returns the number of open connections with held bytes, including released bytes to which
    /// the server has not replied yet.
    pub fn held(&self) -> usize {
        let state = self.shared.lock();
        state.links.iter().filter_map(Weak::upgrade).filter(|it| it.was_held()).count()
    }

    fn each(&self, change: impl Fn(&Link)) {
        let state = self.shared.lock();
        state.links.iter().filter_map(Weak::upgrade).for_each(|it| change(&it));
        self.shared.changed.notify_all();
    }

    /// Resets all open connections at both ends. The mode does not change. A connection that has
    /// not carried any bytes may count as new, unless new connections are refused.
    ///
    /// # Panics
    /// If a connection is still open after a minute.
    pub fn cut(&self) {
        let links = self.shared.cut();
        let closed = || links.iter().all(|it| it.strong_count() == 0);
        let cut = wait::wait_until("connections are cut", Duration::from_secs(60), closed);
        // panics: documented; a test that cuts no connection proves nothing
        cut.unwrap_or_else(|err| panic!("proxy at {}: {err}", self.address));
    }

    /// Returns the number of connections so far, including refused ones.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of swallowed bytes so far.
    pub fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        self.shared.lock().links.iter().filter(|it| it.strong_count() > 0).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        // Wakes the thread that accepts connections.
        let woken = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take().filter(|_| woken.is_ok()) {
            let _ = accepting.join();
        }
        self.shared.cut();
    }
}

/// The state that the threads of a proxy share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the mode changes or a connection is cut.
    changed: Condvar,
    accepted: AtomicU64,
    swallowed: AtomicU64,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    mode: Mode,
    links: Vec<Weak<Link>>,
    /// How often the connections were cut.
    cuts: u64,
    closed: bool,
}

/// The fate of some bytes.
#[derive(Debug, PartialEq)]
enum Fate {
    Forwarded,
    Swallowed,
    /// This many bytes are forwarded, then the connection is closed.
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
            let cuts = state.cuts;
            drop(state);
            let shared = self.clone();
            // On its own thread, because connecting to the server may take long.
            thread::spawn(move || shared.serve(client, cuts));
        }
    }

    /// Serves a connection that was accepted after this many cuts.
    fn serve(self: Arc<Self>, client: TcpStream, cuts: u64) {
        let server = self.lock().server;
        let link = match TcpStream::connect(server) {
            Ok(server) => Arc::new(Link::new(client, server)),
            Err(_) => return link::reset(&client),
        };
        {
            let mut state = self.lock();
            if state.closed || state.cuts != cuts {
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

    /// Forwards bytes in one direction until the end of the connection.
    fn pump(&self, link: &Link, direction: Direction) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let n = match link.read(direction, &mut bytes) {
                Ok(n) => n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                // One side was reset, so the other side is reset, too.
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

    /// Decides about `n` bytes, after waiting if they are delayed or held. 0 is the end of the
    /// connection.
    fn fate(&self, link: &Link, direction: Direction, n: usize) -> Fate {
        let arrived = Instant::now();
        let is_reply = direction == Direction::ToClient;
        let mut state = self.lock();
        if is_reply {
            link.replied();
        }
        loop {
            if link.is_swallowed() {
                return Fate::Swallowed;
            }
            if link.is_held() && !is_reply && !link.is_cut() {
                link.holds();
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            match &mut state.mode {
                Mode::Delay(by) if is_reply && !link.is_cut() => {
                    let left = by.saturating_sub(arrived.elapsed());
                    if left.is_zero() {
                        return Fate::Forwarded;
                    }
                    let woken = self.changed.wait_timeout(state, left);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                Mode::Truncate(left) if is_reply => {
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

    /// Starts to reset all open connections, and returns them.
    fn cut(&self) -> Vec<Weak<Link>> {
        // With the lock: otherwise a thread that has just seen that its connection is not cut would
        // begin to wait after the notification.
        let mut state = self.lock();
        state.cuts += 1;
        let links = std::mem::take(&mut state.links);
        links.iter().filter_map(Weak::upgrade).for_each(|it| it.cut());
        self.changed.notify_all();
        links
    }
}
