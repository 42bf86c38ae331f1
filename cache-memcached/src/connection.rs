//! One connection: questions are written, and their answers read, in order.

use std::{io, mem::MaybeUninit, time::Duration};

use cache_core::store::SharedDeadline;
use memcache::exp::{self, MetaCommand, ReturnCode};
use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    reply::{self, Line, Reply},
    server_errors::ServerError,
};

/// Dropped in the middle of an exchange, it is reset: what was not delivered by then never is.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    is_busy: bool,
    /// When it was last given back, by the clock of its owner.
    pub(crate) idle_since: Duration,
}

/// Questions that are sent together.
#[derive(Debug)]
pub(crate) struct Questions {
    bytes: Vec<u8>,
    /// Of the first; the others follow.
    number: u32,
    count: usize,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    Lost(io::ErrorKind),
    Refused(&'static ServerError),
    NotTheProtocol,
    /// The answer belongs to another question.
    OutOfStep,
    Late,
}

/// The longest line of an answer, by far.
const LINE: usize = 16 << 10;

impl Questions {
    /// These commands, which have as many numbers from this one on.
    pub(crate) fn new(commands: Vec<MetaCommand>, number: u32) -> exp::Result<Self> {
        let (mut bytes, count) = (Vec::new(), commands.len());
        for (command, number) in commands.into_iter().zip(numbers(number)) {
            command.flag(format!("O{number}")).encode_into(&mut bytes)?;
        }
        Ok(Self { bytes, number, count })
    }
}

fn numbers(first: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(first), |it| Some(it.wrapping_add(1)))
}

impl Connection {
    /// One on which the server has said that it is one, and takes the connection.
    pub(crate) async fn greeted(stream: TcpStream) -> Result<Self, Failure> {
        let stream = BufReader::new(stream);
        let mut res = Self { stream, is_busy: true, idle_since: Duration::ZERO };
        res.write(b"mn\r\n").await?;
        if res.answer().await?.code != ReturnCode::Mn {
            return Err(Failure::NotTheProtocol);
        }
        res.is_busy = false;
        Ok(res)
    }

    /// Whether there is nothing to read, not even the end. By the system's account: the runtime may
    /// not have heard of it yet, as after the process was stopped.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = SockRef::from(self.stream.get_ref()).peek(&mut byte);
        self.stream.buffer().is_empty()
            && peeked.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock)
    }

    /// Asks, and waits for each answer no longer than this.
    pub(crate) async fn exchange(
        &mut self,
        questions: &Questions,
        limit: &SharedDeadline,
    ) -> Result<Vec<Reply>, Failure> {
        self.is_busy = true;
        let mut answers = Vec::with_capacity(questions.count);
        let mut is_written = false;
        for number in numbers(questions.number).take(questions.count) {
            let next = async {
                if !is_written {
                    self.write(&questions.bytes).await?;
                    is_written = true;
                }
                self.answer().await
            };
            let answer = limit.run(next).await.unwrap_or(Err(Failure::Late))?;
            if !answer.is_to(number) {
                return Err(Failure::OutOfStep);
            }
            answers.push(answer);
        }
        self.is_busy = false;
        Ok(answers)
    }

    /// Asks what the meta protocol has no command for, and reads lines up to this one.
    pub(crate) async fn ask_in_the_old_protocol(
        &mut self,
        command: &str,
        end: &[u8],
    ) -> Result<String, Failure> {
        self.is_busy = true;
        self.write(format!("{command}\r\n").as_bytes()).await?;
        let mut res = Vec::new();
        loop {
            let line = self.line().await?;
            if let Line::ServerError(it) = reply::parse(&line) {
                return Err(Failure::Refused(it));
            }
            if line == end {
                self.is_busy = false;
                return Ok(String::from_utf8_lossy(&res).into_owned());
            }
            res.extend_from_slice(&line);
            res.push(b'\n');
            if res.len() > LINE * 16 {
                return Err(Failure::NotTheProtocol);
            }
        }
    }

    /// A server that does not want the connection may have said so before it ended it.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Err(error) = self.stream.write_all(bytes).await else { return Ok(()) };
        match self.answer().await {
            Err(it @ Failure::Refused(_)) => Err(it),
            _ => Err(error.into()),
        }
    }

    async fn answer(&mut self) -> Result<Reply, Failure> {
        let (mut answer, len) = match reply::parse(&self.line().await?) {
            Line::Reply(answer, len) => (answer, len),
            Line::ServerError(it) => return Err(Failure::Refused(it)),
            Line::Other => return Err(Failure::NotTheProtocol),
        };
        if let Some(len) = len {
            // The length is what the server says: no more room is made than there are bytes for.
            let mut value = Vec::with_capacity(len.min(LINE) + 2);
            (&mut self.stream).take(len as u64 + 2).read_to_end(&mut value).await?;
            if value.len() < len + 2 {
                return Err(Failure::Lost(io::ErrorKind::UnexpectedEof));
            }
            if value.split_off(len) != b"\r\n" {
                return Err(Failure::NotTheProtocol);
            }
            answer.value = Some(value);
        }
        Ok(answer)
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE as u64).read_until(b'\n', &mut line).await?;
        match line.pop() {
            Some(b'\n') => {
                line.pop_if(|it| *it == b'\r');
                Ok(line)
            }
            Some(_) if line.len() + 1 == LINE => Err(Failure::NotTheProtocol),
            _ => Err(Failure::Lost(io::ErrorKind::UnexpectedEof)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let stream = self.stream.get_ref();
        if self.is_busy {
            cache_net::reset(stream);
        } else {
            // If it cannot be set, there is no connection any more.
            let _ = SockRef::from(stream).set_linger(None);
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.kind())
    }
}
