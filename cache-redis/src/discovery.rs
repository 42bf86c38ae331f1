//! How it is found out which servers there are.

mod cluster;
mod sentinel;

use std::sync::Arc;

use cache_core::{Result, store::StoreId};

pub(crate) use self::{
    cluster::{migration_targets, parse_redirect},
    sentinel::Sentinels,
};
use crate::{address::Address, pool::Pool, topology::Topology};

/// Who knows.
#[derive(Debug)]
pub(crate) enum Discovery {
    /// The settings: the leader, then its replicas.
    Fixed(Vec<Address>),
    /// The Sentinels.
    Sentinels(Sentinels),
    /// The nodes of a Cluster; these are some of them.
    Cluster(Vec<Address>),
}

impl Discovery {
    pub(crate) async fn discover(&self, pool: &Arc<Pool>) -> Result<Arc<Topology>> {
        match self {
            Self::Fixed(addresses) => {
                let mut addresses = addresses.iter();
                let leader = addresses
                    .next()
                    .map(|it| pool.node(it))
                    .expect("settings without a server are refused"); // panics: see `Plan::read`
                Ok(Arc::new(Topology::single(
                    leader,
                    addresses.map(|it| pool.replica(it)).collect(),
                )))
            }
            Self::Sentinels(sentinels) => sentinels.discover(pool).await,
            Self::Cluster(seeds) => cluster::discover(seeds, pool).await,
        }
    }

    /// Returns the identity of a database of these servers. Replicas do not count, as all writes go to the leader; and neither
    /// does the order of Sentinels, nor of the nodes of a Cluster.
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

    /// Whether the settings name this address.
    pub(crate) fn names(&self, address: &Address) -> bool {
        match self {
            Self::Fixed(addresses) | Self::Cluster(addresses) => addresses.contains(address),
            Self::Sentinels(sentinels) => sentinels.addresses.contains(address),
        }
    }
}
