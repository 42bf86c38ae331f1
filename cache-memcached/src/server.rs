//! One server: what all runtimes know of it, and one runtime's way to it.

use std::{pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_core::{Clock, Error, ErrorKind, Result, layer::Breaker};
use cache_net::CounterQueue;
use memcache::exp::MetaCommand;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    address::Address,
    error,
    generation::{Generations, KeyNames},
    reply::Reply,
    transport::{SendCommand, Transport},
};

/// What key and bookkeeping take of an item, at the most.
pub(crate) const ITEM_OVERHEAD: u64 = 512;

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) generations: Arc<Generations>,
    /// Of one of several. Open, the server is ejected: nobody asks it but a probe now and then.
    pub(crate) breaker: Option<Arc<Breaker>>,
}

/// The way of one runtime to it, past its breaker.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) server: Arc<Server>,
    transport: Box<dyn Transport>,
    runtime: Handle,
    /// Of counters.
    pub(crate) queue: Arc<CounterQueue>,
    clock: Clock,
    /// Of a call.
    deadline: Duration,
}

/// When a question was asked: what was seen then holds as long as the generations have not been in
/// doubt since. A server that was started anew may give the same number to another entry.
pub(crate) struct Moment {
    pub(crate) names: KeyNames,
    doubts: u64,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The future of a call, which may be put aside: what it asks runs in a task of its own.
    Future,
    /// A task of the store's own, which goes on.
    Task,
}

/// The tries of one call, which have one deadline together.
#[derive(Default)]
pub(crate) struct Doubted {
    count: u32,
    since: Duration,
}

/// A task that ends with the future that waits for it.
struct Task<T>(JoinHandle<T>);

/// How often a call is tried at once, if the generations come into doubt before it is sent, as
/// whenever a connection begins or ends.
const AT_ONCE: u32 = 2;
/// How long it waits from then on.
const PAUSE: Duration = Duration::from_millis(1);

impl Member {
    pub(crate) fn new(
        server: Arc<Server>,
        transport: impl Transport,
        runtime: Handle,
        clock: Clock,
        deadline: Duration,
    ) -> Self {
        let transport = Box::new(transport);
        Self { server, transport, runtime, queue: Arc::default(), clock, deadline }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.server.address
    }

    /// Whether it would be asked.
    pub(crate) fn is_up(&self) -> bool {
        self.server.breaker.as_ref().is_none_or(|it| it.admits())
    }

    /// Whether there is a connection, so that a call need not wait until one is made.
    pub(crate) fn is_connected(&self) -> bool {
        self.transport.is_connected()
    }

    /// Whether the server has answered nothing for half of a call's deadline.
    pub(crate) fn is_silent(&self) -> bool {
        self.transport.is_silent()
    }

    /// Starts a task that goes on without the caller.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// Asks about a key, by the names under which things are kept there now.
    pub(crate) async fn ask_named(
        self: &Arc<Self>,
        key: &str,
        caller: Caller,
        commands: impl Fn(&KeyNames) -> Vec<MetaCommand> + Send + Sync,
    ) -> Result<(Vec<Reply>, Moment)> {
        let mut tries = Doubted::default();
        loop {
            let doubts = self.doubts(&mut tries).await?;
            let names = self.names(key).await?;
            if let Some(answers) = self.exchange(caller, commands(&names), Some(doubts)).await? {
                return Ok((answers, Moment { names, doubts }));
            }
        }
    }

    /// Asks about what was seen at this moment; nothing if that may not be there any more.
    pub(crate) async fn ask_if_same(
        self: &Arc<Self>,
        caller: Caller,
        moment: &Moment,
        command: MetaCommand,
    ) -> Result<Option<Reply>> {
        let answers = self.exchange(caller, vec![command], Some(moment.doubts)).await?;
        Ok(answers.and_then(|mut it| it.pop()))
    }

    /// How often the generations have been in doubt. To be read before the names of a question are.
    ///
    /// # Errors
    /// `Unavailable` if they come into doubt again and again until the deadline.
    pub(crate) async fn doubts(&self, tries: &mut Doubted) -> Result<u64> {
        if tries.count == 0 {
            tries.since = self.clock.now();
        } else if tries.count >= AT_ONCE {
            if self.clock.now() >= tries.since.saturating_add(self.deadline) {
                let what = "connections to the server end as soon as they are made";
                let error = Error::new(ErrorKind::Unavailable, what).ignored_by_breaker();
                return Err(error::at(error, self.address()));
            }
            self.clock.sleep(PAUSE).await;
        }
        tries.count += 1;
        Ok(self.server.generations.invalidations())
    }

    /// Asks one question in whose key there is no generation.
    pub(crate) async fn ask(self: &Arc<Self>, command: MetaCommand) -> Result<Reply> {
        let answers = self.exchange(Caller::Future, vec![command], None).await?;
        let answer = answers.and_then(|mut it| it.pop());
        answer.ok_or_else(|| error::unexpected_reply(self.address()))
    }

    /// Under which names things are kept there.
    pub(crate) async fn names(self: &Arc<Self>, key: &str) -> Result<KeyNames> {
        let generations = &self.server.generations;
        match generations.cached_names(key) {
            Some(names) => Ok(names),
            // It is seldom, and its future is large.
            None => Box::pin(generations.names(key, self, self.address())).await,
        }
    }

    /// Asks whether it serves, and takes values of this length, whatever its breaker says.
    pub(crate) async fn check(self: &Arc<Self>, max_value_len: usize) -> Result<()> {
        let member = Arc::clone(self);
        let asked = self.in_task(async move {
            member.transport.exchange(vec![crate::command::has("-:check")], None).await?;
            member.transport.item_size().await
        });
        let largest = asked.await?;
        if max_value_len as u64 + ITEM_OVERHEAD <= largest {
            return Ok(());
        }
        // Of a value that only the server finds too large, it removes the old one whatever was
        // asked of it.
        let what = format!(
            "the server takes items of {largest} bytes (its option -I), key and all; options.max_value_bytes allows values of {max_value_len}"
        );
        Err(error::at(Error::new(ErrorKind::Backend, what), self.address()))
    }

    /// Removes everything.
    pub(crate) async fn flush_all(self: &Arc<Self>) -> Result<()> {
        let member = Arc::clone(self);
        self.in_task(async move { member.past_breaker(member.transport.flush_all()).await }).await
    }

    /// Asks; nothing if the names may be old. See [`Transport::exchange`].
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        caller: Caller,
        commands: Vec<MetaCommand>,
        doubts: Option<u64>,
    ) -> Result<Option<Vec<Reply>>> {
        if caller == Caller::Task {
            return Box::pin(self.past_breaker(self.transport.exchange(commands, doubts))).await;
        }
        let member = Arc::clone(self);
        self.in_task(async move {
            // Nothing was sent where the names may be old; that a connection was at hand is an
            // answer, too.
            member.past_breaker(member.transport.exchange(commands, doubts)).await
        })
        .await
    }

    /// Runs in a task of its own what holds a connection, a place among those that wait for one, or
    /// a permit: a caller may put its future aside, and others need them. Dropping the future ends
    /// the task.
    async fn in_task<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut task = Task(self.runtime.spawn(future));
        (&mut task.0).await.unwrap_or_else(|_| Err(cache_net::runtime_closed()))
    }

    async fn past_breaker<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(breaker) = &self.server.breaker else { return pin!(call).await };
        pin!(breaker.run(call)).await.map_err(|it| error::at(it, self.address()))
    }
}

#[async_trait]
impl SendCommand for Arc<Member> {
    async fn send_command(&self, command: MetaCommand) -> Result<Reply> {
        self.ask(command).await
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
