//! Listening to a channel, on a connection of its own.

use std::{convert::Infallible, pin::pin, time::Duration};

use cache_core::{Error, ErrorKind, Result, store::Heartbeat};
use cache_net::within;
use futures_util::future::{Either, select};
use tokio_postgres::{Client, Error as PgError, error::SqlState, types::ToSql};

use super::{
    connector::Connector,
    error,
    transport::{Link, PayloadReceiver},
};

/// A channel to listen to.
pub(crate) struct Channel<'a> {
    /// The SQL that returns the name of the channel, or null without the table.
    pub(crate) name: &'a str,
    /// The SQL of a further condition under which its messages are complete.
    pub(crate) condition: &'a str,
    /// The parameters of both.
    pub(crate) params: &'a [&'a (dyn ToSql + Sync)],
}

/// How often the server is queried. A connection that a network drops silently is noticed within
/// this time and the deadline.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Receives the messages of a channel until that is no longer possible, and returns the reason.
/// Calls `ready` once the server will send all later messages, and `heartbeat` with each query, the
/// first one before `ready`: its answer comes behind the messages of earlier commits.
pub(crate) async fn listen(
    connector: &Connector,
    channel: &Channel<'_>,
    ready: impl FnOnce(),
    heartbeat: impl Fn(Heartbeat),
    receiver: PayloadReceiver,
) -> Error {
    let link = match connector.connect_for(&receiver).await {
        Ok(link) => link,
        Err(error) => return error,
    };
    let Link { client, io_task, .. } = link;
    let listening = pin!(try_listen(connector, channel, &client, ready, heartbeat));
    let error = match select(listening, io_task).await {
        Either::Left((Ok(never), _)) => match never {},
        Either::Left((Err(error), _)) => error,
        Either::Right(((), _)) => {
            let what = "the connection that reports changes was lost";
            Error::new(ErrorKind::Unavailable, what)
        }
    };
    error::at(error, &connector.address)
}

async fn try_listen(
    connector: &Connector,
    channel: &Channel<'_>,
    client: &Client,
    ready: impl FnOnce(),
    heartbeat: impl Fn(Heartbeat),
) -> Result<Infallible> {
    connector.find_table(client).await?;
    let Channel { name, condition, params } = channel;
    let wrong = |it: PgError| error::of(&it, &connector.address);
    let sql = format!(
        "SELECT {name}, coalesce({name} IN (SELECT pg_listening_channels()) AND {condition}, false)"
    );
    let state = client.prepare(&sql);
    let state = in_time(connector, state).await?.map_err(wrong)?;
    let row = in_time(connector, client.query_one(&state, params)).await?.map_err(wrong)?;
    let Some(name) = row.try_get::<_, Option<String>>(0).map_err(wrong)? else {
        return Err(replaced());
    };
    in_time(connector, client.batch_execute(&format!("LISTEN \"{name}\""))).await?.map_err(
        |it| match it.code() {
            // A server that speaks the protocol of PostgreSQL, and lacks notifications.
            Some(&SqlState::FEATURE_NOT_SUPPORTED | &SqlState::SYNTAX_ERROR) => {
                Error::new(ErrorKind::Unsupported, "the server does not support LISTEN")
            }
            _ => wrong(it),
        },
    )?;
    // The server may have accepted `LISTEN` without effect.
    let mut begin = Some(ready);
    loop {
        let sent = connector.clock.now();
        let row = in_time(connector, client.query_one(&state, params)).await?.map_err(wrong)?;
        if !row.try_get::<_, bool>(1).map_err(wrong)? {
            return Err(replaced());
        }
        let lag = connector.clock.now().saturating_sub(sent);
        // When all is well, the next query is answered by then. An answer that was read late counts
        // as one at the deadline.
        let deadline = connector.plan.plan.deadline;
        let next = HEARTBEAT.saturating_add(deadline).saturating_add(lag.min(deadline));
        heartbeat(Heartbeat { lag, valid_until: sent.saturating_add(next) });
        if let Some(ready) = begin.take() {
            ready();
        }
        connector.clock.sleep(HEARTBEAT).await;
    }
}

/// Waits for an answer until the deadline.
async fn in_time<T>(connector: &Connector, answer: impl Future<Output = T>) -> Result<T> {
    let deadline = connector.plan.plan.deadline;
    within(&connector.clock, deadline, answer).await.ok_or_else(|| {
        let what =
            format!("the connection that reports changes is silent: no answer within {deadline:?}");
        Error::new(ErrorKind::TimedOut, what)
    })
}

#[cold]
fn replaced() -> Error {
    let what = "the table or its triggers were dropped or disabled, or a pooler has ended LISTEN; \
                the stream begins again";
    Error::new(ErrorKind::Unavailable, what)
}
