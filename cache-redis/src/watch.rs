//! Notices that other servers take the writes than at the beginning of a stream.
//!
//! A server that was separated from the others may still answer, while another one has taken its
//! place. Therefore its own word is not enough.

use std::{pin::pin, sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result, store::PerRuntime};
use cache_net::within;
use futures_util::future::{Either, join_all, select};
use tokio::sync::watch::Receiver;

use crate::{
    address::Address,
    discovery::{self, Discovery, Sentinels},
    error,
    node::Node,
    pool::{Leaders, Pool},
    topology::Topology,
};

/// Watches the servers of a stream.
pub(crate) struct Watch<'a> {
    pool: Arc<Pool>,
    /// The pools of all runtimes.
    pools: &'a PerRuntime<Pool>,
    /// The servers that take the writes.
    leaders: Vec<Address>,
    nodes: Vec<Arc<Node>>,
    /// Further servers that the stream includes, because slots migrate to them. Absent if it does
    /// not include such servers.
    arriving: Option<Vec<Address>>,
    /// The leaders that a call of the store has found last.
    found: Receiver<Leaders>,
    /// How often they had changed when the watch began.
    changes: u64,
}

/// How often the servers confirm that these are the leaders.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a confirmation may take, with all attempts.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Confirms that the leaders of a topology take the writes, and watches them.
pub(crate) async fn start<'a>(
    pool: &Arc<Pool>,
    pools: &'a PerRuntime<Pool>,
    topology: &Topology,
    arriving: Option<Vec<Address>>,
) -> Result<Watch<'a>> {
    if let Some(arriving) = &arriving {
        pool.common.leaders.send_modify(|it| it.arriving.clone_from(arriving));
    }
    let (found, leaders) = (pool.common.leaders.subscribe(), topology.leaders());
    let changes = {
        let found = found.borrow();
        if found.addresses != leaders {
            return Err(changed_leaders());
        }
        found.changes
    };
    let watch = Watch {
        pool: Arc::clone(pool),
        pools,
        leaders,
        nodes: topology.leader_nodes(),
        arriving,
        found,
        changes,
    };
    match &pool.common.discovery {
        Discovery::Fixed(_) => watch.confirm_pools().await?,
        Discovery::Sentinels(it) => watch.confirm_by(it).await?,
        Discovery::Cluster(_) => {
            for found in join_all(watch.nodes.iter().map(|it| watch.confirm_at(it))).await {
                found?;
            }
        }
    }
    Ok(watch)
}

impl Watch<'_> {
    /// Returns for how long a confirmation is valid, from its beginning.
    pub(crate) fn valid_for(&self) -> Duration {
        let patience = match &self.pool.common.discovery {
            Discovery::Fixed(_) => self.pool.common.nodes.deadline.saturating_mul(2),
            Discovery::Sentinels(_) | Discovery::Cluster(_) => PATIENCE,
        };
        INTERVAL.saturating_add(patience)
    }

    /// Waits until other servers take the writes, or may do so. Returns the reason. Reports when
    /// each confirmation began.
    pub(crate) async fn changed(&self, report: impl Fn(Duration)) -> Error {
        let mut found = self.found.clone();
        let changed = pin!(found.wait_for(|it| it.changes != self.changes));
        let refuted = pin!(self.refuted(report));
        match select(changed, refuted).await {
            Either::Left(_) => changed_leaders(),
            Either::Right((error, _)) => error,
        }
    }

    /// Waits until the servers do not confirm that these are the leaders.
    async fn refuted(&self, report: impl Fn(Duration)) -> Error {
        let mut turn = 0;
        let mut began = self.pool.clock().now();
        loop {
            // The interval is between their beginnings, so that a slow confirmation does not delay
            // the next one.
            let clock = self.pool.clock();
            let passed = clock.now().saturating_sub(began);
            clock.sleep(INTERVAL.saturating_sub(passed)).await;
            began = clock.now();
            let confirmed = match &self.pool.common.discovery {
                Discovery::Fixed(_) => self.confirm_pools().await,
                Discovery::Sentinels(it) => self.confirm_by(it).await,
                Discovery::Cluster(_) => {
                    turn += 1;
                    self.confirm_in_turn(turn).await
                }
            };
            match confirmed {
                Ok(()) => report(began),
                Err(error) => return error,
            }
        }
    }

    /// Asks the servers of all connections for their role. The address may lead to several servers
    /// over time, and values that were read from one that is a replica now may be old.
    async fn confirm_pools(&self) -> Result<()> {
        let (clock, deadline) = (self.pool.clock(), self.pool.common.nodes.deadline);
        let known = self.pools.all().into_iter().filter_map(|it| it.known_topology());
        let leaders: Vec<_> = known.flat_map(|it| it.leader_nodes()).collect();
        let left = join_all(leaders.iter().map(|it| it.leaves_replica(clock, deadline))).await;
        match leaders.iter().zip(left).find(|(_, left)| *left) {
            Some((leader, _)) => Err(error::at(error::demoted(), &leader.address)),
            None => Ok(()),
        }
    }

    /// Asks the Sentinels until most of them name the leader, which must have this role.
    async fn confirm_by(&self, sentinels: &Sentinels) -> Result<()> {
        let confirmed = async {
            loop {
                for it in &self.nodes {
                    match it.is_leader().await {
                        Ok(false) => return Err(error::at(error::demoted(), &it.address)),
                        Err(error) if error::is_demoted(&error) => return Err(error),
                        // The stream notices a server that does not answer.
                        Ok(true) | Err(_) => {}
                    }
                }
                if sentinels.confirm(&self.leaders, &self.pool.nodes).await? {
                    return Ok(());
                }
                self.pool.clock().sleep(PAUSE).await;
            }
        };
        self.patiently(confirmed).await
    }

    /// Asks the leaders, one after the other, until one of them answers.
    async fn confirm_in_turn(&self, first: usize) -> Result<()> {
        let confirmed = async {
            loop {
                for i in 0..self.nodes.len() {
                    let node = &self.nodes[(first + i) % self.nodes.len()];
                    match discovery::leaders_known_to(node, &self.pool.nodes).await {
                        Ok(leaders) => return self.compare(&leaders, node).await,
                        Err(_) => self.pool.clock().sleep(PAUSE).await,
                    }
                }
            }
        };
        self.patiently(confirmed).await
    }

    async fn confirm_at(&self, node: &Arc<Node>) -> Result<()> {
        self.compare(&discovery::leaders_known_to(node, &self.pool.nodes).await?, node).await
    }

    /// Compares the leaders that a node knows, and the servers to which it migrates slots, with
    /// those of the stream.
    async fn compare(&self, leaders: &[Address], node: &Node) -> Result<()> {
        if leaders != self.leaders {
            return Err(changed_leaders());
        }
        let Some(arriving) = &self.arriving else { return Ok(()) };
        // The ACL may forbid the question. Then the first redirect to such a server ends the
        // stream.
        let targets = discovery::migration_targets(node).await.unwrap_or_default();
        let is_included = |it: &Address| leaders.contains(it) || arriving.contains(it);
        // No redirect leads to a server without an address.
        let is_all = targets.iter().all(|it| it.is_empty() || it.iter().any(is_included));
        if is_all { Ok(()) } else { Err(changed_leaders()) }
    }

    async fn patiently(&self, confirmed: impl Future<Output = Result<()>>) -> Result<()> {
        within(self.pool.clock(), PATIENCE, confirmed).await.unwrap_or_else(|| {
            let what = format!(
                "failover in progress: for {PATIENCE:?}, the servers have not confirmed which of \
                 them takes the writes"
            );
            Err(Error::new(ErrorKind::Unavailable, what))
        })
    }
}

fn changed_leaders() -> Error {
    let what = "failover in progress: other servers take the writes";
    Error::new(ErrorKind::Unavailable, what)
}
