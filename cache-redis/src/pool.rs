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
    discover::Discover,
    limit::Limit,
    line::Line,
    map::Map,
    node::Node,
    options::ReadFrom,
};

/// The servers of a store, and the connections to them that the callers of one runtime share.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) runtime: Handle,
    /// Each server that is one of them still, and those that the settings name: by what it is asked as.
    nodes: Mutex<HashMap<(Address, Role), Arc<Node>>>,
    map: RwLock<Option<Arc<Map>>>,
    /// A server has failed or closed a connection, or has said that it is not the right one: the map may be old.
    doubt: Lost,
    looking: Mutex<Looking>,
    /// [`Looking::ended`] in milliseconds, for calls, which should not wait for a lock.
    looked: AtomicU64,
}

/// What all pools of a store have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) connector: Arc<Connector>,
    /// To replicas.
    pub(crate) replica_connector: Arc<Connector>,
    /// To the Sentinels, if it is they who are asked.
    pub(crate) sentinel_connector: Option<Arc<Connector>>,
    pub(crate) discover: Discover,
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
struct Looking {
    attempt: Option<Attempt<Arc<Map>>>,
    /// When the last one ended, however it did.
    ended: Option<Duration>,
    /// Why it failed, if it did, and until when callers are told so and nobody tries again.
    failed: Option<(Duration, Error)>,
}

/// While servers fail, they are not asked for others more often than this.
const PAUSE: Duration = Duration::from_millis(100);
/// Who reads replicas looks for new ones this often: if a leader has none, and if all have.
const FRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long a call waits to hear of a new leader, where the old one would go on answering.
const BRIEFLY: Duration = Duration::from_millis(50);

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            common,
            runtime,
            nodes: Mutex::default(),
            map: RwLock::default(),
            doubt: Arc::new(AtomicBool::new(false)),
            looking: Mutex::default(),
            looked: AtomicU64::new(0),
        })
    }

    /// Which server serves what. What is in doubt may be asked anew, and waited for: that depends on the topology.
    pub(crate) async fn map(self: &Arc<Self>) -> Result<Arc<Map>> {
        match self.known() {
            None => Box::pin(self.look()).await,
            Some(known) if self.doubt.load(Ordering::Acquire) => {
                Ok(Box::pin(self.when_in_doubt(known)).await)
            }
            Some(known) => {
                if self.common.read_from == ReadFrom::Replica {
                    self.look_for_replicas(&known);
                }
                Ok(known)
            }
        }
    }

    /// What is known without asking anybody.
    pub(crate) fn known(&self) -> Option<Arc<Map>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks who serves what now, and waits for it. If the last look has failed, one caller waits, and the others are told why it
    /// failed: as with a breaker, of which there is none before the servers are known.
    pub(crate) async fn look(self: &Arc<Self>) -> Result<Arc<Map>> {
        let attempt = {
            let mut looking = self.looking();
            let is_running = looking.attempt.as_ref().is_some_and(|it| !it.is_finished());
            if let Some((until, error)) = &looking.failed
                && (is_running || self.common.connector.clock.now() < *until)
            {
                return Err(error.clone());
            }
            self.begin(&mut looking).clone()
        };
        attempt.outcome().await
    }

    /// Looks who serves what now, however long that takes: for those who want to know how it is, not how it was.
    pub(crate) async fn look_patiently(self: &Arc<Self>) -> Result<Arc<Map>> {
        let attempt = self.begin(&mut self.looking()).clone();
        attempt.outcome().await
    }

    /// Begins to look, or joins a look that is under way; nothing if one has ended just now.
    pub(crate) fn look_soon(self: &Arc<Self>) -> Option<Attempt<Arc<Map>>> {
        let now = self.common.connector.clock.now();
        let mut looking = self.looking();
        let is_running = looking.attempt.as_ref().is_some_and(|it| !it.is_finished());
        if !is_running && looking.ended.is_some_and(|it| now < it + PAUSE) {
            return None;
        }
        Some(self.begin(&mut looking).clone())
    }

    /// Notes that a call has failed, if it failed in a way that another server could mend.
    pub(crate) fn doubt(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
            self.doubt.store(true, Ordering::Release);
        }
    }

    /// The leader at this address.
    pub(crate) fn node(&self, address: &Address) -> Arc<Node> {
        self.of_role(address, Role::Leader)
    }

    /// The replica at this address.
    pub(crate) fn replica(&self, address: &Address) -> Arc<Node> {
        self.of_role(address, Role::Replica)
    }

    /// The Sentinel at this address.
    pub(crate) fn sentinel(&self, address: &Address) -> Arc<Node> {
        self.of_role(address, Role::Sentinel)
    }

    /// A replica that joins, or was not ready when it was looked for, is told of by nobody.
    fn look_for_replicas(self: &Arc<Self>, known: &Map) {
        let now = self.common.connector.clock.coarse();
        let looked = Duration::from_millis(self.looked.load(Ordering::Relaxed));
        let lacks = known.shards.iter().any(|it| it.replicas.is_empty());
        let fresh = if lacks { FRESH.0 } else { FRESH.1 };
        if now >= looked + fresh && !matches!(self.common.discover, Discover::Fixed(_)) {
            drop(self.look_soon());
        }
    }

    #[cold]
    async fn when_in_doubt(self: &Arc<Self>, known: Arc<Map>) -> Arc<Map> {
        match &self.common.discover {
            Discover::Fixed(_) => self.doubt.store(false, Ordering::Release),
            // A Cluster's servers say themselves what is not theirs.
            Discover::Cluster(_) => drop(self.look_soon()),
            // A leader that was demoted would go on answering reads, and Sentinels tell of the new one in no time: that is
            // waited for. A leader that is not even tried answers nothing, so nobody is kept waiting because of it.
            Discover::Sentinels(_) => {
                let is_tried = known.nodes().next().is_some_and(|it| it.is_tried());
                if let (Some(attempt), true) = (self.look_soon(), is_tried)
                    && let Some(Ok(map)) = self.briefly(&attempt).await
                {
                    return map;
                }
            }
        }
        known
    }

    async fn briefly(&self, attempt: &Attempt<Arc<Map>>) -> Option<Result<Arc<Map>>> {
        within(&self.common.connector.clock, BRIEFLY, attempt.outcome()).await
    }

    fn begin<'a>(self: &Arc<Self>, looking: &'a mut Looking) -> &'a Attempt<Arc<Map>> {
        if looking.attempt.as_ref().is_some_and(Attempt::is_finished) {
            looking.attempt = None;
        }
        looking.attempt.get_or_insert_with(|| {
            let pool = Arc::clone(self);
            Attempt::start(&self.runtime, async move {
                // What fails from now on is a new doubt.
                pool.doubt.store(false, Ordering::Release);
                let res = pool.common.discover.look(&pool).await;
                let now = pool.common.connector.clock.now();
                let failed = match &res {
                    Ok(map) => {
                        pool.keep(map);
                        None
                    }
                    Err(error) => {
                        pool.doubt.store(true, Ordering::Release);
                        Some((now + PAUSE, error.clone()))
                    }
                };
                let millis = now.as_millis().try_into().unwrap_or(u64::MAX);
                pool.looked.store(millis, Ordering::Relaxed);
                let mut looking = pool.looking();
                (looking.ended, looking.failed) = (Some(now), failed);
                drop(looking);
                res
            })
        })
    }

    fn keep(&self, map: &Arc<Map>) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(map));
        // Who is no longer one of them is forgotten, with its connections.
        let known: HashSet<_> = map.nodes().map(Arc::as_ptr).collect();
        self.nodes().retain(|(address, _), it| {
            known.contains(&Arc::as_ptr(it)) || self.common.discover.names(address)
        });
    }

    fn of_role(&self, address: &Address, role: Role) -> Arc<Node> {
        let common = &self.common;
        let (connector, connections) = match role {
            Role::Leader => (&common.connector, common.connections),
            Role::Replica => (&common.replica_connector, common.connections),
            Role::Sentinel => (common.sentinel_connector.as_ref().unwrap_or(&common.connector), 1),
        };
        let mut nodes = self.nodes();
        let make = || Arc::new(self.make(address, connector, connections));
        Arc::clone(nodes.entry((address.clone(), role)).or_insert_with(make))
    }

    fn make(&self, address: &Address, connector: &Arc<Connector>, connections: usize) -> Node {
        let line = || {
            let lost = Arc::clone(&self.doubt);
            let (connector, runtime) = (Arc::clone(connector), self.runtime.clone());
            Line::new(address.clone(), connector, runtime, self.common.deadline, lost)
        };
        let breaker = self.common.breakers.as_ref().map(|it| it.of(&address.to_string()));
        Node::new(address.clone(), (0..connections).map(|_| line()).collect(), breaker)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<(Address, Role), Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looking(&self) -> MutexGuard<'_, Looking> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Common {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.discover, Discover::Cluster(_))
    }
}
