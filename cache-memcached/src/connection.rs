//! One connection: commands are sent on it, with a number that the server returns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use cache_core::{Error, Result, store::SharedDeadline};
use cache_net::{Lost, Peek, Wire};

use crate::{
    command::Command,
    decoder::{Decoder, Received},
    generation::Generations,
    login::Login,
    reply::{Code, ReturnCode},
    server_errors::ServerError,
};

/// A connection that all calls of a runtime use at the same time.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire<Decoder>,
    /// The number of the next command: commands are counted from the start of the connection, as
    /// the decoder counts their replies.
    next: AtomicU32,
    received: Arc<AtomicU64>,
    generations: Arc<Generations>,
    has_ended: AtomicBool,
    /// When a call last had its reply, in milliseconds.
    heard: AtomicU64,
    /// For how long the connection was idle before the calls that wait for replies, in
    /// milliseconds.
    idle: AtomicU64,
}

/// Why a new connection cannot be used.
pub(crate) enum Refused {
    ServerError(&'static ServerError),
    /// The server sent a reply of another command.
    UnexpectedReply,
    /// No reply arrived within the deadline.
    Late,
    Lost(Error),
}

impl Connection {
    /// Takes a connection whose decoder counts replies in `received`.
    pub(crate) fn new(
        wire: Wire<Decoder>,
        received: Arc<AtomicU64>,
        generations: Arc<Generations>,
        now: Duration,
    ) -> Self {
        Self {
            wire,
            next: AtomicU32::new(0),
            received,
            generations,
            has_ended: AtomicBool::new(false),
            heard: AtomicU64::new(millis(now)),
            idle: AtomicU64::new(0),
        }
    }

    /// Waits until the server accepts the connection, and logs in if the server wants it. A server
    /// that wants no login would store the password. The deadline is for each reply.
    pub(crate) async fn greet(
        &self,
        login: Option<&Login>,
        deadline: &SharedDeadline,
    ) -> Result<(), Refused> {
        let ask = async |line| match deadline.run(self.send_line(line)).await {
            Some(reply) => reply.map_err(|it| Refused::Lost(it.error)),
            None => Err(Refused::Late),
        };
        // With a space: a server with TLS waits for five bytes before it closes a connection
        // without TLS.
        match ask("mn \r\n").await? {
            Ok(reply) if reply.code == Code::Meta(ReturnCode::Mn) => return Ok(()),
            Ok(_) => return Err(Refused::UnexpectedReply),
            Err(error) if !error.wants_login() || login.is_none() => {
                return Err(Refused::ServerError(error));
            }
            Err(_) => {}
        }
        let command = login.map(Login::command).unwrap_or_default();
        match ask(&command).await? {
            Ok(reply) if reply.code == Code::LoggedIn => Ok(()),
            Ok(_) => Err(Refused::UnexpectedReply),
            Err(error) => Err(Refused::ServerError(error)),
        }
    }

    /// Sends a command.
    pub(crate) async fn send(&self, command: &Command<'_>) -> Result<Received, Lost> {
        self.wire.call(|out| command.encode(self.next_number(), out)).await
    }

    /// Sends commands together. Returns a reply for each, in order.
    pub(crate) async fn send_all(&self, commands: &[Command<'_>]) -> Result<Vec<Received>, Lost> {
        let encode = |out: &mut BytesMut| {
            for command in commands {
                command.encode(self.next_number(), out);
            }
        };
        self.wire.call_many(commands.len(), encode).await
    }

    /// Sends a command that has no number.
    pub(crate) async fn send_line(&self, line: &str) -> Result<Received, Lost> {
        let encode = |out: &mut BytesMut| {
            self.next_number();
            out.extend_from_slice(line.as_bytes());
        };
        self.wire.call(encode).await
    }

    /// Sends a command that only has a reply.
    pub(crate) async fn ping(&self) -> Result<Received, Lost> {
        self.send_line("mn\r\n").await
    }

    /// `Wire` encodes commands one at a time, in the order of their replies.
    fn next_number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.wire.is_closed()
    }

    /// Whether commands were sent whose replies have not arrived.
    pub(crate) fn is_busy(&self) -> bool {
        self.wire.is_busy()
    }

    pub(crate) fn peek(&self) -> Peek {
        self.wire.peek()
    }

    /// Returns the number of replies so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Resets the connection, with all calls on it.
    pub(crate) fn abort(&self) {
        self.wire.abort();
        self.ended();
    }

    /// Records that the connection has ended. The server may have been restarted, and may have lost
    /// the generations.
    pub(crate) fn ended(&self) {
        if !self.has_ended.swap(true, Ordering::AcqRel) {
            self.generations.invalidate();
        }
    }

    /// Records that a call had its reply.
    pub(crate) fn heard(&self, now: Duration) {
        self.heard.store(millis(now), Ordering::Relaxed);
        self.idle.store(0, Ordering::Relaxed);
    }

    /// Returns how long ago a call had its reply.
    pub(crate) fn quiet_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    /// Records that the connection was idle until now.
    pub(crate) fn was_idle(&self, time: Duration) {
        self.idle.store(millis(time), Ordering::Relaxed);
    }

    /// Returns for how long the connection was idle before the calls that wait for replies.
    pub(crate) fn idle_before(&self) -> Duration {
        Duration::from_millis(self.idle.load(Ordering::Relaxed))
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
