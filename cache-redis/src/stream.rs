//! A stream of messages from the servers that take the writes, until it may miss one.

use std::{convert::Infallible, pin::pin, sync::Arc};

use cache_core::{
    Error, ErrorKind, Result,
    store::{Heartbeat, PerRuntime},
};
use futures_util::future::{Either, select, select_all, try_join_all};

use crate::{
    address::Address,
    freshness::Freshness,
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
/// `ready` is called when all connections are open, and the servers still take the writes.
/// `heartbeat` is called before it, and with each heartbeat of a connection.
pub(crate) async fn run(
    pool: &Arc<Pool>,
    pools: &PerRuntime<Pool>,
    source: Source<'_>,
    request: &Request,
    pushes: &PushReceiver,
    ready: impl FnOnce(),
    heartbeat: impl Fn(Heartbeat) + Send + Sync,
) -> Result<Infallible> {
    let topology = pool.refresh_and_wait().await?;
    let (nodes, arriving) = source.nodes(pool, &topology).await?;
    let settings = &pool.common.nodes;
    let open = nodes
        .iter()
        .map(|it| Box::pin(Subscription::open(&it.address, settings, request, pushes.clone())));
    let open = try_join_all(open).await?;
    let confirmed = pool.clock().now();
    // After the subscription: a change of the topology before it is found now, and later ones are
    // found later.
    let watch = watch::start(pool, pools, &topology, arriving).await?;
    // Before the first value is kept: the calls of another runtime may use other servers still.
    pools.all().iter().for_each(|it| it.adopt(&topology));
    let beats = try_join_all(open.iter().map(Subscription::heartbeat)).await?;
    let freshness = &Freshness::new(beats, settings.deadline, confirmed, watch.valid_for());
    let report = &|| heartbeat(freshness.heartbeat());
    report();
    ready();
    let ended = open.iter().enumerate().map(|(i, it)| {
        Box::pin(it.ended(move |beat| {
            freshness.heard(i, beat);
            report();
        }))
    });
    let changed = pin!(watch.changed(|began| {
        if freshness.confirmed(began) {
            report();
        }
    }));
    match select(select_all(ended), changed).await {
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
