//! The connections of a runtime, and its view of the topology.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, NearInvalidation, Result, store::PerRuntime};
use cache_net::{Attempt, within};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    address::Address,
    connector::LostFlag,
    discovery::Discovery,
    limit::Limit,
    nodes::{NodeSettings, Nodes},
    options::ReadFrom,
    publishing::Channels,
    topology::Topology,
};

/// The servers of a store, and the connections that the callers of one runtime share.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) nodes: Nodes,
    runtime: Handle,
    topology: RwLock<Option<Arc<Topology>>>,
    /// The topology may be old, because a call failed or a connection ended.
    stale: LostFlag,
    refresh: Mutex<Refresh>,
    /// [`Refresh::ended`] in milliseconds. Calls read it without a lock.
    refreshed_at: AtomicU64,
}

/// The parts that all pools of a store share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) nodes: Arc<NodeSettings>,
    pub(crate) discovery: Discovery,
    pub(crate) read_from: ReadFrom,
    pub(crate) limit: Arc<Limit>,
    /// How a near tier may learn of changes, the best way first.
    pub(crate) ways: &'static [NearInvalidation],
    /// The channels of the writes, if they may have to be published.
    pub(crate) channels: Option<Arc<Channels>>,
    /// The leaders that a pool has found last, for streams.
    pub(crate) leaders: watch::Sender<Leaders>,
}

/// The leaders that the pools of a store have found.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    /// Their addresses in the topology that was found last, in order.
    pub(crate) addresses: Vec<Address>,
    /// Further servers of a Cluster that streams include: slots migrate to them.
    pub(crate) arriving: Vec<Address>,
    /// How often a pool has found others than another pool before it, or a server that streams do
    /// not include.
    pub(crate) changes: u64,
}

#[derive(Debug, Default)]
struct Refresh {
    attempt: Option<Attempt<Arc<Topology>>>,
    /// When the last attempt ended, with or without success.
    ended: Option<Duration>,
    /// The error of the last attempt if it failed. Callers receive it, without another attempt,
    /// until this time.
    failed: Option<(Duration, Error)>,
}

/// The shortest time between two refreshes.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// How often readers of replicas refresh the topology: while a leader lacks replicas, and later.
const REPLICA_REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long a call waits for a new leader while the old leader would still serve reads.
const FAILOVER_WAIT: Duration = Duration::from_millis(50);

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: Handle) -> Arc<Self> {
        let stale = Arc::new(AtomicBool::new(false));
        Arc::new(Self {
            nodes: Nodes::new(Arc::clone(&common.nodes), runtime.clone(), Arc::clone(&stale)),
            common,
            runtime,
            topology: RwLock::default(),
            stale,
            refresh: Mutex::default(),
            refreshed_at: AtomicU64::new(0),
        })
    }

    /// Returns the pool of the caller's runtime.
    pub(crate) fn here(common: &Arc<Common>, pools: &PerRuntime<Self>) -> Result<Arc<Self>> {
        pools.here(|runtime| Self::new(Arc::clone(common), runtime.clone()))
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.nodes.clock()
    }

    /// Returns the topology. If it is absent, waits for it. If it is stale, starts a refresh, and
    /// waits for the result only behind Sentinels.
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

    /// Returns the last known topology, without a request to a server.
    pub(crate) fn known_topology(&self) -> Option<Arc<Topology>> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refreshes the topology and waits for it. After a failed refresh, one caller waits for the
    /// next attempt, and the other callers receive the error at once: this is a breaker for the
    /// time before the servers, which have breakers of their own, are known.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<Topology>> {
        let attempt = {
            let mut state = self.refresh_state();
            let is_running = state.attempt.as_ref().is_some_and(|it| !it.is_finished());
            if let Some((until, error)) = &state.failed
                && (is_running || self.clock().now() < *until)
            {
                return Err(error.clone());
            }
            self.start_refresh(&mut state).clone()
        };
        attempt.outcome().await
    }

    /// Refreshes the topology and waits for it, even if the last refresh failed just now.
    pub(crate) async fn refresh_and_wait(self: &Arc<Self>) -> Result<Arc<Topology>> {
        let attempt = self.start_refresh(&mut self.refresh_state()).clone();
        attempt.outcome().await
    }

    /// Starts a refresh, or joins the running refresh. Returns `None` if a refresh ended just now.
    pub(crate) fn refresh_in_background(self: &Arc<Self>) -> Option<Attempt<Arc<Topology>>> {
        let now = self.clock().now();
        let mut state = self.refresh_state();
        let is_running = state.attempt.as_ref().is_some_and(|it| !it.is_finished());
        if !is_running && state.ended.is_some_and(|it| now < it + MIN_INTERVAL) {
            return None;
        }
        Some(self.start_refresh(&mut state).clone())
    }

    /// Marks the topology as stale if another server could have served the failed call.
    pub(crate) fn mark_stale(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
            self.stale.store(true, Ordering::Release);
        }
    }

    /// No server announces a replica that joins, or that was not ready at the last refresh.
    fn refresh_replicas(self: &Arc<Self>, known: &Topology) {
        let now = self.clock().coarse();
        let refreshed_at = Duration::from_millis(self.refreshed_at.load(Ordering::Relaxed));
        let is_incomplete = known.shards.iter().any(|it| it.replicas.is_empty());
        let interval = if is_incomplete { REPLICA_REFRESH.0 } else { REPLICA_REFRESH.1 };
        let is_fixed = matches!(self.common.discovery, Discovery::Fixed(_));
        if now >= refreshed_at + interval && !is_fixed {
            drop(self.refresh_in_background());
        }
    }

    #[cold]
    async fn refresh_if_stale(self: &Arc<Self>, known: Arc<Topology>) -> Arc<Topology> {
        match &self.common.discovery {
            Discovery::Fixed(_) => self.stale.store(false, Ordering::Release),
            // The nodes of a Cluster redirect commands for keys that they do not serve.
            Discovery::Cluster(_) => drop(self.refresh_in_background()),
            // A demoted leader would still serve reads, and Sentinels know the new leader within a
            // few milliseconds, so the call waits. If the breaker of the leader is open, the leader
            // serves nothing, and there is no reason to wait.
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
        within(self.clock(), FAILOVER_WAIT, attempt.outcome()).await
    }

    fn start_refresh<'a>(self: &Arc<Self>, state: &'a mut Refresh) -> &'a Attempt<Arc<Topology>> {
        if state.attempt.as_ref().is_some_and(Attempt::is_finished) {
            state.attempt = None;
        }
        state.attempt.get_or_insert_with(|| {
            let pool = Arc::clone(self);
            Attempt::start(&self.runtime, async move {
                // Failures from now on make the new topology stale.
                pool.stale.store(false, Ordering::Release);
                let res = pool.common.discovery.discover(&pool.nodes, pool.known_topology()).await;
                let now = pool.clock().now();
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
        let mut known = self.write_topology();
        // With the lock: a stream that makes all pools use its leaders has begun to watch before,
        // so it changes this topology, or notices it.
        self.common.leaders.send_if_modified(|it| it.found(topology.leaders()));
        *known = Some(Arc::clone(topology));
        drop(known);
        self.nodes.retain(topology, |it| self.common.discovery.names(it));
    }

    /// Makes the calls of this runtime use the leaders that another pool has found. Otherwise they
    /// may use an old leader that still answers, until a connection to it is lost.
    pub(crate) fn adopt(&self, found: &Topology) {
        let mut known = self.write_topology();
        if known.as_ref().is_none_or(|it| it.leaders() == found.leaders()) {
            return;
        }
        let (leader, replica) = (|it: &_| self.nodes.leader(it), |it: &_| self.nodes.replica(it));
        let topology = Arc::new(found.with(leader, replica));
        *known = Some(Arc::clone(&topology));
        drop(known);
        self.nodes.retain(&topology, |it| self.common.discovery.names(it));
    }

    fn write_topology(&self) -> RwLockWriteGuard<'_, Option<Arc<Topology>>> {
        self.topology.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh_state(&self) -> MutexGuard<'_, Refresh> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leaders {
    /// Notes the leaders of a topology. Returns whether they are others than before.
    fn found(&mut self, addresses: Vec<Address>) -> bool {
        let is_changed = self.addresses != addresses;
        if is_changed {
            self.addresses = addresses;
            self.changes += 1;
        }
        is_changed
    }
}

impl Common {
    /// Ends the streams that do not include a server to which a key has moved. They begin again
    /// with this server.
    pub(crate) fn include(&self, server: &Address) {
        self.leaders.send_if_modified(|it| {
            let is_new = !it.addresses.contains(server) && !it.arriving.contains(server);
            it.changes += u64::from(is_new);
            is_new
        });
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.nodes.connector.clock
    }

    pub(crate) fn has_sentinels(&self) -> bool {
        matches!(self.discovery, Discovery::Sentinels(_))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.discovery, Discovery::Cluster(_))
    }
}
