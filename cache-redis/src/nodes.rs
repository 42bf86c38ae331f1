//! The servers to which one runtime has connections.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::{Clock, layer::Breakers, store::SharedDeadline};
use cache_net::ConnectionSlot;
use tokio::runtime::Handle;

use crate::{
    address::Address,
    connector::{Connector, LostFlag, Server, Slot},
    node::Node,
    topology::Topology,
};

/// The nodes of one runtime, by address and role.
#[derive(Debug)]
pub(crate) struct Nodes {
    settings: Arc<NodeSettings>,
    runtime: Handle,
    /// Set when a connection to any node ends.
    lost: LostFlag,
    open: Mutex<HashMap<(Address, Role), Arc<Node>>>,
}

/// How to connect to servers, and how many connections to make.
#[derive(Debug)]
pub(crate) struct NodeSettings {
    pub(crate) connector: Arc<Connector>,
    pub(crate) replica_connector: Arc<Connector>,
    /// Present if the topology is `sentinel`.
    pub(crate) sentinel_connector: Option<Arc<Connector>>,
    /// Whether only the servers themselves tell which of them takes the writes.
    pub(crate) asks_role: bool,
    /// The number of connections to each server.
    pub(crate) connections: usize,
    pub(crate) deadline: Duration,
    /// Present for several servers. A single server has the breaker of its store.
    pub(crate) breakers: Option<Breakers>,
}

/// The role in which a server receives commands. A demoted leader can have two roles at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Leader,
    /// In a Cluster, connections to a replica have sent `READONLY`.
    Replica,
    Sentinel,
}

impl Nodes {
    pub(crate) fn new(settings: Arc<NodeSettings>, runtime: Handle, lost: LostFlag) -> Self {
        Self { settings, runtime, lost, open: Mutex::default() }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.settings.connector.clock
    }

    /// Returns the leader at this address.
    pub(crate) fn leader(&self, address: &Address) -> Arc<Node> {
        self.get(address, Role::Leader)
    }

    /// Returns the replica at this address.
    pub(crate) fn replica(&self, address: &Address) -> Arc<Node> {
        self.get(address, Role::Replica)
    }

    /// Returns the Sentinel at this address.
    pub(crate) fn sentinel(&self, address: &Address) -> Arc<Node> {
        self.get(address, Role::Sentinel)
    }

    /// Drops the servers that are neither in the topology nor in the settings, and their
    /// connections.
    pub(crate) fn retain(&self, topology: &Topology, is_configured: impl Fn(&Address) -> bool) {
        let used: HashSet<_> = topology.nodes().map(Arc::as_ptr).collect();
        self.lock()
            .retain(|(address, _), it| used.contains(&Arc::as_ptr(it)) || is_configured(address));
    }

    fn get(&self, address: &Address, role: Role) -> Arc<Node> {
        let settings = &self.settings;
        let leader = &settings.connector;
        let (connector, connections) = match role {
            Role::Leader => (leader, settings.connections),
            Role::Replica => (&settings.replica_connector, settings.connections),
            Role::Sentinel => (settings.sentinel_connector.as_ref().unwrap_or(leader), 1),
        };
        let mut open = self.lock();
        let new = || Arc::new(self.new_node(address, connector, connections));
        Arc::clone(open.entry((address.clone(), role)).or_insert_with(new))
    }

    fn new_node(&self, address: &Address, connector: &Arc<Connector>, connections: usize) -> Node {
        let slots = (0..connections).map(|_| self.new_slot(address, connector)).collect();
        let breaker = self.settings.breakers.as_ref().map(|it| it.of(&address.to_string()));
        Node::new(address.clone(), slots, breaker)
    }

    fn new_slot(&self, address: &Address, connector: &Arc<Connector>) -> Slot {
        let (runtime, lost) = (self.runtime.clone(), Arc::clone(&self.lost));
        let server = Server::new(address.clone(), Arc::clone(connector), runtime.clone(), lost);
        let clock = connector.clock.clone();
        let deadline = SharedDeadline::new(self.settings.deadline, clock.clone());
        ConnectionSlot::new(server, runtime, clock, deadline)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Address, Role), Arc<Node>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeSettings {
    /// Returns the time limit of a call that has to connect first.
    pub(crate) fn longest_call(&self) -> Duration {
        self.deadline.saturating_add(self.connector.time)
    }
}
