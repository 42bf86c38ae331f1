//! A stream of messages from the servers that take the writes, until it may miss one.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result, store::PerRuntime};
use futures_util::future::{Either, select, select_all, try_join_all};

use crate::{
    address::Address,
    node::Node,
    pool::Pool,
    push::PushReceiver,
    route::leader,
    subscription::{Request, Subscription},
    topology::Topology,
    watch,
};

/// The servers whose messages a stream receives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// All servers that take writes, including those that import their first slot.
    Writers,
    /// The leader of the slot of a channel.
    LeaderOf(&'a str),
}

/// Subscribes at some of the servers that take the writes. Returns the reason why the stream has
/// ended: one of the connections was lost, or other servers take the writes.
///
/// `ready` is called when all connections are open, and the servers still take the writes. `lag` is
/// called with the duration of each heartbeat of a connection.
pub(crate) async fn run(
    pool: &Arc<Pool>,
    pools: &PerRuntime<Pool>,
    source: Source<'_>,
    request: &Request,
    pushes: &PushReceiver,
    ready: impl FnOnce(),
    lag: impl Fn(Duration) + Send + Sync,
) -> Result<Infallible> {
    let topology = pool.refresh_and_wait().await?;
    let (nodes, arriving) = source.nodes(pool, &topology).await?;
    let settings = &pool.common.nodes;
    let open = nodes
        .iter()
        .map(|it| Box::pin(Subscription::open(&it.address, settings, request, pushes.clone())));
    let open = try_join_all(open).await?;
    // After the subscription: a change of the topology before it is found now, and later ones are
    // found later.
    let watch = watch::start(pool, pools, &topology, arriving).await?;
    // Before the first value is kept: the calls of another runtime may use other servers still.
    pools.all().iter().for_each(|it| it.adopt(&topology));
    ready();
    let lost = select_all(open.iter().map(|it| Box::pin(it.ended(&lag))));
    match select(lost, pin!(watch.changed())).await {
        Either::Left(((error, ..), _)) | Either::Right((error, _)) => Err(error),
    }
}

impl Source<'_> {
    /// Returns the servers. If slots migrate to some of them that have none yet, also the addresses
    /// of these.
    async fn nodes(
        self,
        pool: &Arc<Pool>,
        topology: &Topology,
    ) -> Result<(Vec<Arc<Node>>, Option<Vec<Address>>)> {
        if let Self::LeaderOf(channel) = self {
            return Ok((vec![Arc::clone(leader(topology, topology.slot(channel))?)], None));
        }
        let mut nodes = topology.leader_nodes();
        if nodes.is_empty() {
            let what = "no server of the cluster serves a slot";
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        if !topology.is_cluster() {
            return Ok((nodes, None));
        }
        let migrations = pool.migrations(topology).await;
        nodes.extend(migrations.to);
        Ok((nodes, Some(migrations.names)))
    }
}
