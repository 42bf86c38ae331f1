//! The servers of a store, as one runtime has them.

use std::sync::Arc;

use cache_core::{Clock, Error, ErrorKind, Result, StoreId};

use crate::{
    connections::Connections,
    generation::Names,
    options::{Plan, WhenDown},
    ring::Ring,
    server::{Member, Server},
};

/// What all runtimes have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) plan: Plan,
    pub(crate) ring: Ring,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) clock: Clock,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) members: Vec<Arc<Member>>,
}

impl Common {
    /// Returns the identity of the ring. The order of the servers does not count, as it does not decide where a key goes.
    pub(crate) fn store_id(&self) -> StoreId {
        let (addresses, weights) = (&self.plan.addresses, &self.plan.weights);
        let mut servers: Vec<_> =
            addresses.iter().zip(weights).map(|(it, weight)| format!("{it} {weight}")).collect();
        servers.sort_unstable();
        // A server that is alone has all keys, whatever its weight.
        if let ([_], [address]) = (&servers[..], &addresses[..]) {
            servers = vec![address.to_string()];
        }
        StoreId::new("memcached", servers)
    }
}

/// Where a key is: a server, and its name there.
pub(crate) struct Place {
    pub(crate) member: Arc<Member>,
    names: Names,
    key: String,
}

impl Place {
    /// The key of the entry there.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The server, and the key of the entry there.
    pub(crate) fn split(self) -> (Arc<Member>, String) {
        (self.member, self.key)
    }

    /// The key under which one marks the entry.
    pub(crate) fn mark(&self, key: &str) -> String {
        self.names.mark(key)
    }
}

impl Pool {
    pub(crate) fn new(common: Arc<Common>) -> Arc<Self> {
        let plan = &common.plan;
        let member = |server: &Arc<Server>| {
            let (address, clock) = (server.address.clone(), common.clock.clone());
            let way = Connections::new(
                address,
                Arc::clone(&server.generations),
                plan.connections,
                plan.deadline,
                plan.connect_deadline,
                clock,
            );
            Arc::new(Member::new(Arc::clone(server), way))
        };
        let members = common.servers.iter().map(member).collect();
        Arc::new(Self { common, members })
    }

    /// The number of the server that has a key now.
    pub(crate) fn number(&self, key: &str) -> Result<usize> {
        let first = self.common.ring.first(key);
        if self.common.plan.when_down == WhenDown::Miss || self.members[first].is_up() {
            return Ok(first);
        }
        let up = self.common.ring.order(key).into_iter().find(|it| self.members[*it].is_up());
        up.ok_or_else(|| Error::new(ErrorKind::Unavailable, "all servers are down"))
    }

    /// Where a key is now.
    pub(crate) async fn place(&self, key: &str) -> Result<Place> {
        let member = Arc::clone(&self.members[self.number(key)?]);
        let names = member.names(key).await?;
        let key = names.entry(key);
        Ok(Place { member, names, key })
    }
}
