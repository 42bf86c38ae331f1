//! One server: the state that all runtimes share, and the connections of one runtime.

use std::{pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_core::{Clock, Error, ErrorKind, Result, layer::Breaker, store::SharedDeadline};
use cache_net::{ConnectionSlot, ConnectionSlots, CounterQueue, Lost};
use tokio::runtime::Handle;

use crate::{
    added::RecentAdds,
    address::Address,
    command::Command,
    connection::Connection,
    connector::Connector,
    decoder::Received,
    error,
    generation::{Generations, SendCommand},
    key::KeyNames,
    recent::RecentCounters,
    reply::{Code, Reply},
    ring,
};

/// The part of an item's size that is not the value, at most.
pub(crate) const ITEM_OVERHEAD: u64 = 512;

/// The state of a server that all runtimes share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) generations: Arc<Generations>,
    /// The breaker of one of several servers. While it is open, the server is ejected: only a probe
    /// now and then reaches it.
    pub(crate) breaker: Option<Arc<Breaker>>,
}

/// The connections of one runtime to a server.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) server: Arc<Server>,
    connections: ConnectionSlots<Connector>,
    runtime: Handle,
    /// The changes of counters that wait for each other.
    pub(crate) queue: Arc<CounterQueue>,
    pub(crate) recent: RecentCounters,
    pub(crate) added: RecentAdds,
    clock: Clock,
    deadline: SharedDeadline,
}

/// The attempts of one call to send its commands, which have one deadline together.
#[derive(Default)]
pub(crate) struct Attempts {
    count: u32,
    since: Duration,
}

/// How many attempts begin at once. The generations are invalidated whenever a connection starts or
/// ends.
const AT_ONCE: u32 = 2;
/// The pause before each later attempt.
const PAUSE: Duration = Duration::from_millis(1);

impl Member {
    pub(crate) fn new(
        server: Arc<Server>,
        connectors: impl Iterator<Item = Connector>,
        runtime: &Handle,
        clock: &Clock,
        deadline: &SharedDeadline,
    ) -> Self {
        let slot = |connector| {
            ConnectionSlot::new(connector, runtime.clone(), clock.clone(), deadline.clone())
        };
        Self {
            server,
            connections: ConnectionSlots::new(connectors.map(slot).collect()),
            runtime: runtime.clone(),
            queue: Arc::default(),
            recent: RecentCounters::default(),
            added: RecentAdds::default(),
            clock: clock.clone(),
            deadline: deadline.clone(),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.server.address
    }

    /// Whether the breaker admits calls.
    pub(crate) fn is_up(&self) -> bool {
        self.server.breaker.as_ref().is_none_or(|it| it.admits())
    }

    /// Whether a connection exists, so that a call does not have to wait for a new one.
    pub(crate) fn is_connected(&self) -> bool {
        self.connections.slots().iter().any(|it| it.current().is_some())
    }

    /// Whether the server has sent no reply for half of a call's deadline.
    pub(crate) fn is_silent(&self) -> bool {
        let now = self.clock.coarse();
        let is_silent = |it: Arc<Connection>| it.quiet_for(now) >= self.deadline.time() / 2;
        self.connections.slots().iter().filter_map(|it| it.current()).all(is_silent)
    }

    /// Starts a task that continues without the caller.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// Returns the number of the connection for a key. It is always the same, so that commands
    /// about one key keep their order.
    pub(crate) fn connection_of(&self, key: &str) -> usize {
        let count = self.connections.slots().len() as u64;
        if count == 1 { 0 } else { usize::try_from(ring::hash(key) % count).unwrap_or_default() }
    }

    /// Returns how many times the generations were invalidated. An attempt reads this number before
    /// it reads the key names.
    ///
    /// # Errors
    /// `Unavailable` if they are invalidated again and again until the deadline.
    pub(crate) async fn begin(&self, attempts: &mut Attempts) -> Result<u64> {
        if attempts.count == 0 {
            attempts.since = self.clock.coarse();
        } else if attempts.count >= AT_ONCE {
            if self.clock.coarse() >= attempts.since.saturating_add(self.deadline.time()) {
                let what = "connections to the server end as soon as they are made";
                let error = Error::new(ErrorKind::Unavailable, what).ignored_by_breaker();
                return Err(error::at(error, self.address()));
            }
            self.clock.sleep(PAUSE).await;
        }
        attempts.count += 1;
        Ok(self.server.generations.invalidations())
    }

    /// Returns the names under which the server currently stores entries.
    pub(crate) async fn names(&self, key: &str) -> Result<KeyNames> {
        let generations = &self.server.generations;
        match generations.cached_names(key) {
            Some(names) => Ok(names),
            // Boxed, because it is rare and its future is large.
            None => Box::pin(generations.names(key, self, self.address())).await,
        }
    }

    /// Sends a command. Returns `None` without sending it if the generations are no longer those of
    /// this number of invalidations.
    pub(crate) async fn send(
        &self,
        connection: usize,
        command: &Command<'_>,
        invalidations: Option<u64>,
    ) -> Result<Option<Reply>> {
        if !command.is_valid() {
            return Err(error::unsendable(self.address()));
        }
        self.past_breaker(async {
            let (slot, connection) = self.connected(connection).await?;
            if invalidations.is_some_and(|it| self.is_old(it)) {
                return Ok(None);
            }
            let reply = slot.run(&self.deadline, &connection, connection.send(command)).await;
            self.reply(self.outcome(&connection, reply)?).map(Some)
        })
        .await
    }

    /// Sends commands together. The deadline applies to each reply. Returns `None` without sending
    /// them if the generations are no longer those of this number of invalidations.
    pub(crate) async fn send_all(
        &self,
        connection: usize,
        commands: &[Command<'_>],
        invalidations: u64,
    ) -> Result<Option<Vec<Received>>> {
        if !commands.iter().all(Command::is_valid) {
            return Err(error::unsendable(self.address()));
        }
        self.past_breaker(async {
            let (slot, connection) = self.connected(connection).await?;
            if self.is_old(invalidations) {
                return Ok(None);
            }
            let replies = connection.send_all(commands);
            let replies = slot.run_many(&self.deadline, &connection, replies).await;
            self.outcome(&connection, replies).map(Some)
        })
        .await
    }

    /// Whether the server may have lost the generations since. The caller has a connection, whose
    /// start has invalidated those that were read before it. So a generation that is not old was
    /// read from the same server, or the connection leads to a server that has ended.
    fn is_old(&self, invalidations: u64) -> bool {
        invalidations != self.server.generations.invalidations()
    }

    /// Returns the connection, and makes it if necessary.
    async fn connected(
        &self,
        number: usize,
    ) -> Result<(&Arc<ConnectionSlot<Connector>>, Arc<Connection>)> {
        let connected = self.connections.connection(number).await;
        let (slot, connection) = connected.map_err(|it| error::at(it, self.address()))?;
        let idle = connection.quiet_for(self.clock.coarse());
        if !idle.is_zero() && !connection.is_busy() {
            connection.was_idle(idle);
        }
        Ok((slot, connection))
    }

    /// Returns the result of a call with a deadline.
    fn outcome<T>(&self, connection: &Connection, result: Option<Result<T, Lost>>) -> Result<T> {
        match result {
            Some(Ok(reply)) => {
                connection.heard(self.clock.coarse());
                Ok(reply)
            }
            Some(Err(lost)) => {
                connection.ended();
                Err(error::at(lost.error, self.address()))
            }
            None => Err(error::no_answer(self.deadline.time(), self.address())),
        }
    }

    pub(crate) fn reply(&self, received: Received) -> Result<Reply> {
        received.map_err(|it| error::of_server(it, self.address()))
    }

    /// Checks that the server replies and accepts values of this length, whatever its breaker says.
    pub(crate) async fn check(&self, max_value_len: usize) -> Result<()> {
        let Code::Settings(Some(largest)) = self.send_line("stats settings\r\n").await?.code else {
            return Err(error::unexpected_reply(self.address()));
        };
        if max_value_len as u64 + ITEM_OVERHEAD <= largest {
            return Ok(());
        }
        // If only the server finds a value too large, the server removes the old one in any mode.
        let what = format!(
            "the server takes items of {largest} bytes (its option -I), key and all; options.max_value_bytes allows values of {max_value_len}"
        );
        Err(error::at(Error::new(ErrorKind::Backend, what), self.address()))
    }

    /// Removes all entries.
    pub(crate) async fn flush_all(&self) -> Result<()> {
        match self.past_breaker(self.send_line("flush_all\r\n")).await?.code {
            Code::Flushed => Ok(()),
            _ => Err(error::unexpected_reply(self.address())),
        }
    }

    /// Sends a line that is not of the meta protocol.
    async fn send_line(&self, line: &str) -> Result<Reply> {
        let (slot, connection) = self.connected(0).await?;
        let reply = slot.run(&self.deadline, &connection, connection.send_line(line)).await;
        self.reply(self.outcome(&connection, reply)?)
    }

    async fn past_breaker<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(breaker) = &self.server.breaker else { return pin!(call).await };
        pin!(breaker.run(call)).await.map_err(|it| error::at(it, self.address()))
    }
}

#[async_trait]
impl SendCommand for Member {
    async fn send_command(&self, command: Command<'_>) -> Result<Reply> {
        let reply = self.send(0, &command, None).await?;
        reply.ok_or_else(|| error::unexpected_reply(self.address()))
    }
}
