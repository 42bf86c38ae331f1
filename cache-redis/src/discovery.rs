//! How a store finds its servers.

mod cluster;
mod sentinel;

use std::sync::Arc;

use cache_core::{Result, store::StoreId};

pub(crate) use self::{
    cluster::{leaders_known_to, migration_targets, parse_redirect},
    sentinel::Sentinels,
};
use crate::{address::Address, nodes::Nodes, topology::Topology};

/// The source of the topology.
#[derive(Debug)]
pub(crate) enum Discovery {
    /// The settings: the leader, then its replicas.
    Fixed(Vec<Address>),
    /// The Sentinels.
    Sentinels(Sentinels),
    /// Some of the nodes of a Cluster.
    Cluster(Vec<Address>),
}

impl Discovery {
    pub(crate) async fn discover(
        &self,
        nodes: &Nodes,
        known: Option<Arc<Topology>>,
    ) -> Result<Arc<Topology>> {
        match self {
            Self::Fixed(addresses) => {
                let mut addresses = addresses.iter();
                let leader = addresses
                    .next()
                    .map(|it| nodes.leader(it))
                    .expect("settings without a server are refused"); // panics: see `Plan::read`
                Ok(Arc::new(Topology::single(
                    leader,
                    addresses.map(|it| nodes.replica(it)).collect(),
                )))
            }
            Self::Sentinels(sentinels) => sentinels.discover(nodes).await,
            Self::Cluster(seeds) => cluster::discover(seeds, nodes, known).await,
        }
    }

    /// Returns the identity of a database on these servers. Replicas do not count, because all
    /// writes go to the leader. The order of Sentinels or of Cluster nodes does not count either.
    pub(crate) fn store_id(&self, database: i64) -> StoreId {
        let (topology, service, addresses) = match self {
            Self::Fixed(addresses) => ("single", "", addresses.get(..1).unwrap_or_default()),
            Self::Sentinels(it) => ("sentinel", &*it.service_name, &it.addresses[..]),
            Self::Cluster(addresses) => ("cluster", "", &addresses[..]),
        };
        let mut addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        addresses.sort_unstable();
        let parts = [topology.into(), service.into(), database.to_string()];
        StoreId::new("redis", parts.into_iter().chain(addresses))
    }

    /// Whether the settings contain this address.
    pub(crate) fn names(&self, address: &Address) -> bool {
        match self {
            Self::Fixed(addresses) | Self::Cluster(addresses) => addresses.contains(address),
            Self::Sentinels(sentinels) => sentinels.addresses.contains(address),
        }
    }
}
