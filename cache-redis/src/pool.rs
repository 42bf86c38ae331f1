//! The connections of one runtime: which servers there are, and who serves what.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, layer::Breakers};
use cache_net::{Attempt, within};
use tokio::runtime::Handle;

use crate::{
    address::Address,
    connect::{Connector, Lost},
    discovery::Discovery,
    limit::Limit,
    line::Line,
    node::Node,
    options::ReadFrom,
    topology::Topology,
};

/// The servers of a store, and the connections to them that the callers of one runtime share.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) runtime: Handle,
    /// Each server that is one of them still, and those that the settings name: by what it is asked as.
    nodes: Mutex<HashMap<(Address, Role), Arc<Node>>>,
    topology: RwLock<Option<Arc<Topology>>>,
    /// A server has failed or closed a connection, or has said that it is not the right one: the map may be old.
    stale: Lost,
    refresh: Mutex<Refresh>,
    /// [`Looking::ended`] in milliseconds, for calls, which should not wait for a lock.
    refreshed_at: AtomicU64,
}

/// What all pools of a store have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) connector: Arc<Connector>,
    /// To replicas.
    pub(crate) replica_connector: Arc<Connector>,
    /// To the Sentinels, if it is they who are asked.
    pub(crate) sentinel_connector: Option<Arc<Connector>>,
    pub(crate) discovery: Discovery,
    pub(crate) read_from: ReadFrom,
    pub(crate) connections: usize,
    pub(crate) deadline: Duration,
    pub(crate) limit: Arc<Limit>,
    /// Of the servers of a group.
    pub(crate) breakers: Option<Breakers>,
}

/// As what a server is asked. One may be asked as both: a leader of old that is a replica now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Leader,
    /// Its connections have said that they may read what is behind.
    Replica,
    Sentinel,
}

#[derive(Debug, Default)]
struct Refresh {
    attempt: Option<Attempt<Arc<Topology>>>,
    /// When the last one ended, however it did.
    ended: Option<Duration>,
    /// Why it failed, if it did, and until when callers are told so and nobody tries again.
    failed: Option<(Duration, Error)>,
}

/// While servers fail, they are not asked for others more often than this.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Who reads replicas looks for new ones this often: if a leader has none, and if all have.
const REPLICA_REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long a call waits to hear of a new leader, where the old one would go on answering.
const FAILOVER_WAIT: Duration = Duration::from_millis(50);

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            common,
            runtime,
            nodes: Mutex::default(),
            topology: RwLock::default(),
            stale: Arc::new(AtomicBool::new(false)),
            refresh: Mutex::default(),
            refreshed_at: AtomicU64::new(0),
        })
    }

    /// Which server serves what. What is in doubt may be asked anew, and waited for: that depends on the topology.
    pub(crate) async fn topology(self: &Arc<Self>) -> Result<Arc<Topology>> {
        match self.known_topology() {
            None => Box::pin(self.refresh()).await,
            Some(known) if self.stale.load(Ordering::Acquire) => {
                Ok(Box::pin(self.refresh_if_stale(known)).await)
            }
            Some(known) => {
                if self.common.read_from == ReadFrom::Replica {
                    self.refresh_replicas(&known);
                }
                Ok(known)
            }
        }
    }

    /// What is known without asking anybody.
    pub(crate) fn known_topology(&self) -> Option<Arc<Topology>> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks who serves what now, and waits for it. If the last look has failed, one caller waits, and the others are told why it
    /// failed: as with a breaker, of which there is none before the servers are known.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<Topology>> {
        let attempt = {
            let mut state = self.refresh_state();
            let is_running = state.attempt.as_ref().is_some_and(|it| !it.is_finished());
            if let Some((until, error)) = &state.failed
                && (is_running || self.common.connector.clock.now() < *until)
            {
                return Err(error.clone());
            }
            self.start_refresh(&mut state).clone()
        };
        attempt.outcome().await
    }

    /// Looks who serves what now, however long that takes: for those who want to know how it is, not how it was.
    pub(crate) async fn refresh_and_wait(self: &Arc<Self>) -> Result<Arc<Topology>> {
        let attempt = self.start_refresh(&mut self.refresh_state()).clone();
        attempt.outcome().await
    }

    /// Begins to look, or joins a look that is under way; nothing if one has ended just now.
    pub(crate) fn refresh_in_background(self: &Arc<Self>) -> Option<Attempt<Arc<Topology>>> {
        let now = self.common.connector.clock.now();
        let mut state = self.refresh_state();
        let is_running = state.attempt.as_ref().is_some_and(|it| !it.is_finished());
        if !is_running && state.ended.is_some_and(|it| now < it + MIN_INTERVAL) {
            return None;
        }
        Some(self.start_refresh(&mut state).clone())
    }

    /// Notes that a call has failed, if it failed in a way that another server could mend.
    pub(crate) fn mark_stale(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
            self.stale.store(true, Ordering::Release);
        }
    }

    /// The leader at this address.
    pub(crate) fn node(&self, address: &Address) -> Arc<Node> {
        self.node_in_role(address, Role::Leader)
    }

    /// The replica at this address.
    pub(crate) fn replica(&self, address: &Address) -> Arc<Node> {
        self.node_in_role(address, Role::Replica)
    }

    /// The Sentinel at this address.
    pub(crate) fn sentinel(&self, address: &Address) -> Arc<Node> {
        self.node_in_role(address, Role::Sentinel)
    }

    /// A replica that joins, or was not ready when it was looked for, is told of by nobody.
    fn refresh_replicas(self: &Arc<Self>, known: &Topology) {
        let now = self.common.connector.clock.coarse();
        let refreshed_at = Duration::from_millis(self.refreshed_at.load(Ordering::Relaxed));
        let lacks = known.shards.iter().any(|it| it.replicas.is_empty());
        let fresh = if lacks { REPLICA_REFRESH.0 } else { REPLICA_REFRESH.1 };
        if now >= refreshed_at + fresh && !matches!(self.common.discovery, Discovery::Fixed(_)) {
            drop(self.refresh_in_background());
        }
    }

    #[cold]
    async fn refresh_if_stale(self: &Arc<Self>, known: Arc<Topology>) -> Arc<Topology> {
        match &self.common.discovery {
            Discovery::Fixed(_) => self.stale.store(false, Ordering::Release),
            // A Cluster's servers say themselves what is not theirs.
            Discovery::Cluster(_) => drop(self.refresh_in_background()),
            // A leader that was demoted would go on answering reads, and Sentinels tell of the new one in no time: that is
            // waited for. A leader that is not even tried answers nothing, so nobody is kept waiting because of it.
            Discovery::Sentinels(_) => {
                let is_available = known.nodes().next().is_some_and(|it| it.is_available());
                if let (Some(attempt), true) = (self.refresh_in_background(), is_available)
                    && let Some(Ok(topology)) = self.refresh_within(&attempt).await
                {
                    return topology;
                }
            }
        }
        known
    }

    async fn refresh_within(
        &self,
        attempt: &Attempt<Arc<Topology>>,
    ) -> Option<Result<Arc<Topology>>> {
        within(&self.common.connector.clock, FAILOVER_WAIT, attempt.outcome()).await
    }

    fn start_refresh<'a>(self: &Arc<Self>, state: &'a mut Refresh) -> &'a Attempt<Arc<Topology>> {
        if state.attempt.as_ref().is_some_and(Attempt::is_finished) {
            state.attempt = None;
        }
        state.attempt.get_or_insert_with(|| {
            let pool = Arc::clone(self);
            Attempt::start(&self.runtime, async move {
                // What fails from now on is a new doubt.
                pool.stale.store(false, Ordering::Release);
                let res = pool.common.discovery.discover(&pool).await;
                let now = pool.common.connector.clock.now();
                let failed = match &res {
                    Ok(topology) => {
                        pool.replace_topology(topology);
                        None
                    }
                    Err(error) => {
                        pool.stale.store(true, Ordering::Release);
                        Some((now + MIN_INTERVAL, error.clone()))
                    }
                };
                let millis = now.as_millis().try_into().unwrap_or(u64::MAX);
                pool.refreshed_at.store(millis, Ordering::Relaxed);
                let mut state = pool.refresh_state();
                (state.ended, state.failed) = (Some(now), failed);
                drop(state);
                res
            })
        })
    }

    fn replace_topology(&self, topology: &Arc<Topology>) {
        *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(topology));
        // Who is no longer one of them is forgotten, with its connections.
        let known: HashSet<_> = topology.nodes().map(Arc::as_ptr).collect();
        self.nodes().retain(|(address, _), it| {
            known.contains(&Arc::as_ptr(it)) || self.common.discovery.names(address)
        });
    }

    fn node_in_role(&self, address: &Address, role: Role) -> Arc<Node> {
        let common = &self.common;
        let (connector, connections) = match role {
            Role::Leader => (&common.connector, common.connections),
            Role::Replica => (&common.replica_connector, common.connections),
            Role::Sentinel => (common.sentinel_connector.as_ref().unwrap_or(&common.connector), 1),
        };
        let mut nodes = self.nodes();
        let make = || Arc::new(self.new_node(address, connector, connections));
        Arc::clone(nodes.entry((address.clone(), role)).or_insert_with(make))
    }

    fn new_node(&self, address: &Address, connector: &Arc<Connector>, connections: usize) -> Node {
        let line = || {
            let lost = Arc::clone(&self.stale);
            let (connector, runtime) = (Arc::clone(connector), self.runtime.clone());
            Line::new(address.clone(), connector, runtime, self.common.deadline, lost)
        };
        let breaker = self.common.breakers.as_ref().map(|it| it.of(&address.to_string()));
        Node::new(address.clone(), (0..connections).map(|_| line()).collect(), breaker)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<(Address, Role), Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh_state(&self) -> MutexGuard<'_, Refresh> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Common {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.discovery, Discovery::Cluster(_))
    }
}
