//! Sentinels: they know the leader, and their knowledge may be old.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, Result};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::{
    address::Address, error, node::Node, nodes::Nodes, reply, resp::Reply, topology::Topology,
};

/// The Sentinels, and the name of the leader in their configuration.
#[derive(Debug)]
pub(crate) struct Sentinels {
    pub(crate) addresses: Vec<Address>,
    pub(crate) service_name: String,
    /// Whether the store reads from replicas, so that the topology needs them.
    pub(crate) reads_replicas: bool,
}

impl Sentinels {
    /// Queries all Sentinels at once, and takes the first answer whose leader confirms its role.
    pub(super) async fn discover(&self, nodes: &Nodes) -> Result<Arc<Topology>> {
        let queried = self.addresses.iter().map(|it| self.query(nodes.sentinel(it), nodes));
        let mut queried: FuturesUnordered<_> = queried.collect();
        let mut failed: Option<Error> = None;
        while let Some(answer) = queried.next().await {
            match answer {
                Ok(topology) => return Ok(Arc::new(topology)),
                // An unknown service name is a better explanation than a Sentinel that did not
                // answer.
                Err(error) if failed.is_none() || error.kind() == ErrorKind::Backend => {
                    failed = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(failed
            .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "location lists no Sentinel")))
    }

    /// Queries all Sentinels at once. Returns whether most of them name these leaders.
    ///
    /// # Errors
    /// Most of them name another leader.
    pub(crate) async fn confirm(&self, leaders: &[Address], nodes: &Nodes) -> Result<bool> {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.service_name];
        let queried = self.addresses.iter().map(|it| {
            let sentinel = nodes.sentinel(it);
            async move { address(reply::list(sentinel.query(&words).await?)?) }
        });
        let mut queried: FuturesUnordered<_> = queried.collect();
        let is_most = |count: usize| count > self.addresses.len() / 2;
        let (mut confirmed, mut refuted) = (0, 0);
        while let Some(answer) = queried.next().await {
            match answer {
                Ok(it) if leaders == [it.clone()] => confirmed += 1,
                Ok(_) => refuted += 1,
                Err(_) => {}
            }
            if is_most(confirmed) {
                return Ok(true);
            }
            if is_most(refuted) {
                return Err(error::demoted());
            }
        }
        Ok(false)
    }

    async fn query(&self, sentinel: Arc<Node>, nodes: &Nodes) -> Result<Topology> {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.service_name];
        let answer = sentinel.query(&words).await;
        let leader = match answer.map_err(|it| not_a_sentinel(it, &sentinel))? {
            Reply::Nil => return Err(self.unknown(&sentinel)),
            leader => address(reply::list(leader)?)?,
        };
        let leader = nodes.leader(&leader);
        verify(&leader).await?;
        let replicas =
            if self.reads_replicas { self.replicas(&sentinel, nodes).await? } else { Vec::new() };
        Ok(Topology::single(leader, replicas))
    }

    async fn replicas(&self, sentinel: &Node, nodes: &Nodes) -> Result<Vec<Arc<Node>>> {
        let words = ["SENTINEL", "REPLICAS", &self.service_name];
        let mut res = Vec::new();
        for replica in reply::list(sentinel.query(&words).await?)? {
            let facts = reply::pairs(replica)?;
            let fact =
                |name: &str| facts.iter().find(|(it, _)| it == name).map_or("", |(_, it)| it);
            let is_down = fact("flags")
                .split(',')
                .any(|it| matches!(it, "s_down" | "o_down" | "disconnected"));
            if let (false, Ok(port)) = (is_down, fact("port").parse()) {
                res.push(nodes.replica(&Address::Tcp { host: fact("ip").to_owned(), port }));
            }
        }
        Ok(res)
    }

    fn unknown(&self, sentinel: &Node) -> Error {
        let what = format!(
            "unknown service name: the Sentinel does not know `{}`; see options.service_name",
            self.service_name
        );
        error::at(Error::new(ErrorKind::Backend, what), &sentinel.address)
    }
}

/// A server that is not a Sentinel does not know the command `SENTINEL`.
fn not_a_sentinel(error: Error, queried: &Node) -> Error {
    if !error::is_unknown_command(&error) {
        return error;
    }
    let what = "this server is not a Sentinel; with options.topology = \"sentinel\", location lists the Sentinels, often on port 26379";
    error::at(Error::new(ErrorKind::Backend, what), &queried.address)
}

/// A Sentinel that missed a failover names the old leader, which may run again as a replica.
async fn verify(leader: &Node) -> Result<()> {
    if leader.is_leader().await? {
        return Ok(());
    }
    Err(error::at(error::demoted(), &leader.address))
}

/// Parses `[host, port]`, both as text.
fn address(parts: Vec<Reply>) -> Result<Address> {
    let mut parts = parts.into_iter();
    let mut next = || reply::text(parts.next().unwrap_or_default()).map(Option::unwrap_or_default);
    let (host, port) = (next()?, next()?);
    match port.parse() {
        Ok(port) => Ok(Address::Tcp { host, port }),
        Err(_) => Err(Error::new(ErrorKind::Backend, "the Sentinel names a leader without a port")),
    }
}
