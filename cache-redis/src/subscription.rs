//! A connection of its own, over which a server sends messages that are not replies.

use std::{
    fmt,
    mem::replace,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result, store::current_runtime};
use cache_net::{Connector as _, Lost, within};
use futures_util::future::{Either, select, try_join};
use tokio::sync::Notify;

use crate::{
    address::Address,
    connection::Connection,
    connector::Server,
    encoder::Encoder,
    error,
    nodes::NodeSettings,
    push::{PushReceiver, kind},
    reply,
    resp::Reply,
    server_errors,
};

/// A connection that receives messages, and notices its end.
pub(crate) struct Subscription {
    connection: Connection,
    /// The connection for `ROLE`, if no other server tells which one takes the writes.
    role: Role,
    /// Whether the server has forbidden this user `ROLE`.
    hides_role: AtomicBool,
    address: Address,
    clock: Clock,
    /// The time within which the server replies.
    deadline: Duration,
    /// Notified when the server ends the subscription, but not the connection.
    cancelled: Arc<Notify>,
}

/// A round trip on the connection. Its reply comes behind the messages that the server has sent
/// before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    pub(crate) sent: Duration,
    pub(crate) took: Duration,
}

/// The connection on which a server tells its role.
enum Role {
    NotAsked,
    OfTheMessages,
    /// One of its own: in RESP2, a connection that receives messages may not run `ROLE`. It was
    /// made before the other one, so it does not lead to a newer server.
    Other(Connection),
}

/// The commands that begin a subscription.
pub(crate) struct Request {
    pub(crate) commands: Vec<Vec<String>>,
    /// The number of replies, if the server refuses nothing. In RESP3, `SUBSCRIBE` has none.
    pub(crate) replies: usize,
    /// 2 or 3. If it is unset, the newest version that the server supports.
    pub(crate) resp: Option<u8>,
    /// Returns the error for a server that refuses one of the commands, or the version.
    pub(crate) refused: fn(&Error) -> Error,
}

/// How often a ping is sent, or `ROLE`. A connection that a network drops
/// silently is noticed within this time and the deadline.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

impl Subscription {
    /// Connects to a server, and begins the subscription.
    pub(crate) async fn open(
        address: &Address,
        settings: &NodeSettings,
        request: &Request,
        pushes: PushReceiver,
    ) -> Result<Self> {
        let (runtime, cancelled) = (current_runtime()?, Arc::<Notify>::default());
        let receive = Arc::clone(&cancelled);
        let pushes = PushReceiver::new(move |message| match kind(message) {
            Some(b"subscribe" | b"ssubscribe") => {}
            Some(b"unsubscribe" | b"sunsubscribe") => receive.notify_one(),
            _ => pushes.receive(message),
        });
        let asks = settings.asks_role;
        let connector = Arc::new(settings.connector.for_pushes(request.resp, asks, pushes));
        let clock = connector.clock.clone();
        let server = Server::new(address.clone(), connector, runtime.clone(), Arc::default());
        let mut connection = server.connect(&runtime).await.map_err(|it| {
            let lacks_resp3 = [server_errors::UNKNOWN_COMMAND, server_errors::NO_RESP3];
            if lacks_resp3.contains(&it.message()) { (request.refused)(&it) } else { it }
        })?;
        let role = match (asks, connection.resp) {
            (false, _) => Role::NotAsked,
            (true, 2) => Role::Other(replace(&mut connection, server.connect(&runtime).await?)),
            (true, _) => Role::OfTheMessages,
        };
        let (address, deadline) = (address.clone(), settings.deadline);
        let hides_role = AtomicBool::new(false);
        let res = Self { connection, role, hides_role, address, clock, deadline, cancelled };
        res.begin(request).await?;
        Ok(res)
    }

    async fn begin(&self, request: &Request) -> Result<()> {
        let call = self.connection.wire.call_many(request.replies, |out| {
            let mut out = Encoder::new(out);
            request.commands.iter().for_each(|it| out.command(it));
        });
        for reply in self.within_deadline(call).await? {
            let Reply::Error(reply) = reply else { continue };
            let error = error::from_reply(&reply);
            // A server that is loading, for example, has not refused for good.
            let is_refusal = matches!(error.kind(), ErrorKind::Backend | ErrorKind::Unsupported);
            return Err(self.at(if is_refusal { (request.refused)(&error) } else { error }));
        }
        Ok(())
    }

    /// Waits until no more messages arrive. Returns the reason. Reports each heartbeat, the first
    /// one after a pause.
    pub(crate) async fn ended(&self, report: impl Fn(Beat)) -> Error {
        loop {
            let closed = pin!(self.connection.wire.closed());
            let cancelled = pin!(self.cancelled.notified());
            let what = match within(&self.clock, HEARTBEAT, select(closed, cancelled)).await {
                None => match self.heartbeat().await {
                    Ok(beat) => {
                        report(beat);
                        continue;
                    }
                    Err(error) => return error,
                },
                Some(Either::Left(_)) => "the connection for messages was lost",
                Some(Either::Right(_)) => "the server has ended the subscription",
            };
            return self.at(Error::new(ErrorKind::Unavailable, what));
        }
    }

    /// Makes a round trip.
    ///
    /// # Errors
    /// If there is no reply, or the server has become a replica, as far as it is known.
    pub(crate) async fn heartbeat(&self) -> Result<Beat> {
        let sent = self.clock.now();
        let role = Some(&self.role).filter(|_| !self.hides_role.load(Ordering::Relaxed));
        let word = if let Some(Role::OfTheMessages) = role { "ROLE" } else { "PING" };
        let call = self.connection.wire.call(|out| Encoder::new(out).command(&[word]));
        let call = self.within_deadline(call);
        let reply = match role {
            Some(Role::OfTheMessages) => call.await?,
            Some(Role::Other(connection)) => {
                try_join(call, self.within_deadline(connection.role())).await?.1
            }
            Some(Role::NotAsked) | None => call.await.map(|_| Reply::Nil)?,
        };
        if reply::is_replica(&reply) {
            return Err(self.at(error::demoted()));
        }
        // Another question would be forbidden as well.
        self.hides_role.fetch_or(reply::is_forbidden(&reply), Ordering::Relaxed);
        Ok(Beat { sent, took: self.clock.now().saturating_sub(sent) })
    }

    async fn within_deadline<T>(&self, call: impl Future<Output = Result<T, Lost>>) -> Result<T> {
        let res = match within(&self.clock, self.deadline, call).await {
            Some(reply) => reply.map_err(|lost| lost.error),
            None => Err(Error::new(
                ErrorKind::TimedOut,
                format!(
                    "the connection for messages is silent: no answer within {:?}",
                    self.deadline
                ),
            )),
        };
        res.map_err(|it| self.at(it))
    }

    fn at(&self, error: Error) -> Error {
        error::at(error, &self.address)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("server", &self.address).finish_non_exhaustive()
    }
}
