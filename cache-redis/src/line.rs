//! Commands on one connection, which is made and replaced as `cache-net` does it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, store::SharedDeadline};
use cache_net::{Attempt, Peek};
use redis::{Arg, Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike as _};
use tokio::runtime::Handle;

use crate::{
    abandoned::Abandoned,
    address::Address,
    command::{Commands, command},
    connect::{Connector, Lost, Up},
    error,
};

/// A place for one connection.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<cache_net::ConnectionSlot<Server>>);

/// Where it leads.
#[derive(Debug)]
struct Server {
    address: Address,
    connector: Arc<Connector>,
    abandoned: Arc<Abandoned>,
    lost: Lost,
    runtime: Handle,
}

impl Line {
    pub(crate) fn new(
        address: Address,
        connector: Arc<Connector>,
        runtime: Handle,
        deadline: Duration,
        lost: Lost,
    ) -> Self {
        let clock = connector.clock.clone();
        let deadline = SharedDeadline::new(deadline, clock.clone());
        let abandoned = Abandoned::at(&address);
        let server = Server { address, connector, abandoned, lost, runtime: runtime.clone() };
        Self(cache_net::ConnectionSlot::new(server, runtime, clock, deadline))
    }

    /// The connection. All who need one while there is none wait for the same.
    pub(crate) async fn up(&self) -> Result<Arc<Up>> {
        self.0.connection().await
    }

    /// The connection, if there is one that can be used as it is.
    pub(crate) fn ready(&self) -> Option<Arc<Up>> {
        self.0.ready()
    }

    /// The connection, if there is one.
    pub(crate) fn up_now(&self) -> Option<Arc<Up>> {
        self.0.current()
    }

    /// Begins to connect if that is needed and it is time for another try.
    pub(crate) fn begin(&self) {
        self.0.connect_in_background();
    }

    /// Begins to wait until all is done that was sent on this connection so far, if it is there:
    /// the server answers in order.
    pub(crate) fn settled(&self, up: Option<&Arc<Up>>) -> Attempt<()> {
        let (line, up) = (self.clone(), up.map(Arc::clone));
        Attempt::start(&self.0.connector().runtime, async move {
            let Some(up) = up else { return Ok(()) };
            line.ask(&up, &Commands::of(&["PING"])).await.map(drop)
        })
    }

    /// Asks about one key.
    pub(crate) async fn ask(&self, up: &Arc<Up>, commands: &Commands) -> Result<Value> {
        match commands {
            Commands::One(command) => {
                let mut connection = up.connection.clone();
                // Boxed by the crate: large, it would be copied from frame to frame of this future.
                let longest = || longest_argument(command);
                self.heard(up, connection.req_packed_command(command), longest).await
            }
            Commands::Transaction(_) => Box::pin(self.ask_together(up, commands, false)).await,
        }
    }

    /// Asks about a key that is on its way here.
    pub(crate) async fn ask_arriving(&self, up: &Arc<Up>, commands: &Commands) -> Result<Value> {
        self.ask_together(up, commands, true).await
    }

    /// Sends all at once; a reply for each command.
    pub(crate) async fn send(&self, up: &Arc<Up>, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let mut connection = up.connection.clone();
        let longest = || pipeline.cmd_iter().map(longest_argument).max().unwrap_or(0);
        let answers = connection.req_packed_commands(pipeline, 0, pipeline.len());
        self.heard(up, answers, longest).await
    }

    /// Has the next call connect anew, which looks up the name of the server again: it may be
    /// another one by now. What is under way comes to its end. Not more often than who cannot be
    /// reached is tried.
    pub(crate) fn renew(&self) {
        self.0.reconnect(None);
    }

    async fn ask_together(&self, up: &Arc<Up>, commands: &Commands, asking: bool) -> Result<Value> {
        let mut pipeline = Pipeline::new();
        if asking {
            pipeline.cmd("ASKING");
        }
        let wanted = commands.clone().add_to(&mut pipeline);
        let replies = self.send(up, &pipeline).await?;
        Ok(wanted.value(replies.into_iter().skip(usize::from(asking))))
    }

    async fn heard<T>(
        &self,
        up: &Arc<Up>,
        answer: RedisFuture<'_, T>,
        longest: impl Fn() -> usize,
    ) -> Result<T> {
        let (limit, address) = (self.0.deadline(), &self.0.connector().address);
        // On a connection that has ended, nothing is sent.
        let is_over = up.is_over();
        up.sent();
        match self.0.run(limit, up, answer).await {
            Some(Ok(value)) => {
                up.answered();
                Ok(value)
            }
            Some(Err(error)) => {
                if !is_over && error.is_io_error() {
                    up.lost_with(longest());
                }
                Err(error::lost(&error, address))
            }
            None => {
                let what =
                    format!("no answer within {:?}; a write may have had its effect", limit.time());
                Err(error::at(Error::new(ErrorKind::TimedOut, what), address))
            }
        }
    }
}

/// How many bytes the longest argument of a command has.
fn longest_argument(command: &Cmd) -> usize {
    let lengths = command.args_iter().map(|it| match it {
        Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    });
    lengths.max().unwrap_or(0)
}

impl cache_net::Connector for Server {
    type Connection = Up;

    async fn connect(&self, runtime: &Handle) -> Result<Up> {
        let lost = Arc::clone(&self.lost);
        self.connector.connect(runtime, &self.address, &self.abandoned, lost).await
    }

    async fn ping(&self, up: &Up) {
        // What comes of it is heard.
        let _ = up.connection.clone().req_packed_command(&command(&["PING"])).await;
    }

    fn is_closed(&self, up: &Up) -> bool {
        up.is_over()
    }

    fn abort(&self, up: &Up) {
        up.give_up();
        self.lost.store(true, Ordering::Release);
    }

    fn peek(&self, up: &Up) -> Peek {
        up.peek()
    }
}
