//! Connections of the `memcache` crate to one server: lent to one caller at a time, and closed rather than reused when in doubt.

use std::{
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{Clock, Error, ErrorKind, Result, TimeLimit};
use futures_util::FutureExt as _;
use memcache::exp::{self, AsyncMetaConnection, MetaCommand, MetaResponse};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit},
};

use crate::{address::Address, error, generation::Generations, transport::Transport};

#[derive(Debug)]
pub(crate) struct Connections {
    address: Address,
    /// In doubt when a connection ends: the server may have been started anew, and what is written under one that it does not have
    /// would be gone as soon as that is noticed.
    generations: Arc<Generations>,
    /// Those that nobody has.
    idle: Mutex<Idle>,
    /// One for each that there may be.
    slots: Semaphore,
    /// For an exchange, waiting for a slot not counted.
    deadline: TimeLimit,
    connect: TimeLimit,
    clock: Clock,
    /// Of questions; an answer says to which it belongs.
    numbers: AtomicU32,
    /// When the last exchange came to a good end, in milliseconds.
    heard: AtomicU64,
}

#[derive(Default)]
struct Idle {
    connections: Vec<AsyncMetaConnection>,
    /// Why the server cannot be reached, and until when it is not tried again.
    failed: Option<(Duration, Error)>,
}

/// A connection on loan: closed when it is dropped, unless it is given back.
struct Loan<'a> {
    connection: AsyncMetaConnection,
    _slot: SemaphorePermit<'a>,
}

/// A server that cannot be reached is tried again after as long as the try took, within these bounds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

impl Connections {
    pub(crate) fn new(
        address: Address,
        generations: Arc<Generations>,
        most: usize,
        deadline: Duration,
        connect: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            address,
            generations,
            idle: Mutex::default(),
            slots: Semaphore::new(most),
            deadline: TimeLimit::new(deadline, clock.clone()),
            connect: TimeLimit::new(connect, clock.clone()),
            clock,
            numbers: AtomicU32::new(0),
            heard: AtomicU64::new(0),
        }
    }

    async fn borrow(&self) -> Result<Loan<'_>> {
        let slot = match self.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_) => self.wait_for_slot().await?,
        };
        loop {
            let idle = self.lock().connections.pop();
            let Some(mut connection) = idle else {
                // It is seldom, and its future is large.
                let connection = Box::pin(self.open()).await?;
                return Ok(Loan { connection, _slot: slot });
            };
            // One on which there is something to read, or which has ended, is not what it should be.
            if connection.receive().now_or_never().is_none() {
                return Ok(Loan { connection, _slot: slot });
            }
            self.generations.doubt();
        }
    }

    async fn wait_for_slot(&self) -> Result<SemaphorePermit<'_>> {
        if let Some(Ok(slot)) = self.deadline.run(self.slots.acquire()).await {
            return Ok(slot);
        }
        // A server that answers those who have a connection is not the one to blame.
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        let is_silent = self.clock.coarse().saturating_sub(heard) >= self.deadline.time() / 2;
        let kind = if is_silent { ErrorKind::TimedOut } else { ErrorKind::Backend };
        let what = "all connections to the server were in use for the whole deadline; see options.connections";
        Err(error::at(Error::new(kind, what), &self.address))
    }

    async fn open(&self) -> Result<AsyncMetaConnection> {
        let began = self.clock.now();
        if let Some((until, error)) = &self.lock().failed
            && began < *until
        {
            return Err(error.clone());
        }
        let res = self.dial().await;
        let now = self.clock.now();
        match res {
            Ok(stream) => {
                self.lock().failed = None;
                Ok(AsyncMetaConnection::from_stream(stream))
            }
            Err(error) => {
                let pause = now.saturating_sub(began).clamp(PAUSE.0, PAUSE.1);
                self.lock().failed = Some((now + pause, error.clone()));
                Err(error)
            }
        }
    }

    /// The name is looked up anew each time.
    async fn dial(&self) -> Result<TcpStream> {
        let Address { host, port } = &self.address;
        // A runtime without sockets is told from one with them only by a panic; it goes no further.
        let dial = AssertUnwindSafe(TcpStream::connect((host.as_str(), *port))).catch_unwind();
        let dialed = self.connect.run(dial).await.transpose().map_err(|_| error::no_sockets())?;
        let (kind, what) = match dialed {
            Some(Ok(stream)) => {
                // Or small requests wait for the answers to those before them.
                return match stream.set_nodelay(true) {
                    Ok(()) => Ok(stream),
                    Err(it) => Err(self.unavailable(&format!("cannot connect: {it}"))),
                };
            }
            Some(Err(it)) if it.kind() == std::io::ErrorKind::ConnectionRefused => {
                (ErrorKind::Unavailable, "cannot connect: nobody listens there".to_owned())
            }
            Some(Err(it)) => (ErrorKind::Unavailable, format!("cannot connect: {it}")),
            None => {
                (ErrorKind::TimedOut, format!("cannot connect within {:?}", self.connect.time()))
            }
        };
        Err(error::at(Error::new(kind, what), &self.address))
    }

    fn unavailable(&self, what: &str) -> Error {
        error::at(Error::new(ErrorKind::Unavailable, what.to_owned()), &self.address)
    }

    fn give_back(&self, loan: Loan<'_>) {
        self.lock().connections.push(loan.connection);
    }

    /// What is wrong with one connection is likely to be wrong with those that were idle meanwhile.
    fn failed(&self, error: Error) -> Error {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
            let idle = std::mem::take(&mut self.lock().connections);
            drop(idle);
            self.generations.doubt();
        }
        error
    }

    /// Numbers for so many questions.
    fn numbers(&self, count: usize) -> impl Iterator<Item = u32> + Clone + use<> {
        let first = self.numbers.fetch_add(low_bits(count), Ordering::Relaxed);
        (0..count).map(move |it| first.wrapping_add(low_bits(it)))
    }

    /// What a connection answers in time. By reference, or each of the futures around it would have room for it.
    async fn answer<T>(&self, answer: Pin<&mut impl Future<Output = exp::Result<T>>>) -> Result<T> {
        match self.deadline.run(answer).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(it)) => Err(self.failed(error::of(&it, &self.address))),
            None => {
                let what = format!(
                    "no answer within {:?}; a write may have had its effect",
                    self.deadline.time()
                );
                Err(self.failed(error::at(Error::new(ErrorKind::TimedOut, what), &self.address)))
            }
        }
    }

    /// Ends an exchange. A connection whose answers are not those to its questions is not used again.
    fn settle(&self, loan: Loan<'_>, are_its: bool) -> Result<()> {
        if !are_its {
            return Err(self.failed(error::surprise(&self.address)));
        }
        let now = self.clock.coarse().as_millis().try_into().unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
        self.give_back(loan);
        Ok(())
    }

    /// What the meta protocol has no command for, on a connection of its own; up to the end of the answer.
    async fn ask_in_the_old_protocol(&self, command: &str, end: &[u8]) -> Result<String> {
        let mut stream = self.dial().await?;
        let exchange = async {
            stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(end) {
                if stream.read_buf(&mut answer).await? == 0 || answer.starts_with(b"ERROR") {
                    return Ok(None);
                }
            }
            Ok::<_, std::io::Error>(Some(String::from_utf8_lossy(&answer).into_owned()))
        };
        let (kind, what) = match self.deadline.run(exchange).await {
            Some(Ok(Some(answer))) => return Ok(answer),
            Some(Ok(None)) => (ErrorKind::Backend, format!("the server refuses `{command}`")),
            Some(Err(it)) => {
                (ErrorKind::Unavailable, format!("the connection was lost: {}", it.kind()))
            }
            None => (ErrorKind::TimedOut, format!("no answer within {:?}", self.deadline.time())),
        };
        Err(error::at(Error::new(kind, what), &self.address))
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Connections {
    async fn ask(&self, command: MetaCommand) -> Result<MetaResponse> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let command = command.flag(opaque(number));
        let mut loan = self.borrow().await?;
        let answer = {
            let connection = &mut loan.connection;
            // Its own way to do both is made for batches.
            let exchange = pin!(async {
                connection.send(&command).await?;
                connection.receive().await
            });
            self.answer(exchange).await?
        };
        self.settle(loan, is_answer(&answer, number))?;
        Ok(answer)
    }

    async fn ask_all(&self, commands: Vec<MetaCommand>) -> Result<Vec<MetaResponse>> {
        let numbers = self.numbers(commands.len());
        let commands: Vec<_> =
            commands.into_iter().zip(numbers.clone()).map(|(it, n)| it.flag(opaque(n))).collect();
        let mut loan = self.borrow().await?;
        let answers = {
            let exchange = pin!(loan.connection.execute_batch(&commands));
            self.answer(exchange).await?
        };
        let mut pairs = answers.iter().zip(numbers);
        let are_its = answers.len() == commands.len() && pairs.all(|(it, n)| is_answer(it, n));
        self.settle(loan, are_its)?;
        Ok(answers)
    }

    fn is_whole(&self) -> bool {
        let mut idle = self.lock();
        let last = idle.connections.last_mut();
        if last.is_none_or(|it| it.receive().now_or_never().is_none()) {
            return true;
        }
        // What ended one has ended the others.
        let ended = std::mem::take(&mut idle.connections);
        drop(idle);
        drop(ended);
        false
    }

    async fn item_size(&self) -> Result<u64> {
        let answer = self.ask_in_the_old_protocol("stats settings", b"END\r\n").await?;
        let size =
            answer.lines().find_map(|it| it.strip_prefix("STAT item_size_max ")?.parse().ok());
        size.ok_or_else(|| error::surprise(&self.address))
    }

    async fn flush_all(&self) -> Result<()> {
        self.ask_in_the_old_protocol("flush_all", b"OK\r\n").await.map(drop)
    }
}

fn low_bits(count: usize) -> u32 {
    u32::try_from(count % (1 << 32)).unwrap_or_default()
}

/// The flag that a server gives back as it is: `O`, and the number in hexadecimal.
fn opaque(number: u32) -> [u8; 9] {
    let mut res = [b'O'; 9];
    for (i, digit) in res[1..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (28 - 4 * i)) as usize & 15];
    }
    res
}

fn is_answer(answer: &MetaResponse, number: u32) -> bool {
    answer.flags().any(|it| it == opaque(number))
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} idle", self.connections.len())
    }
}
