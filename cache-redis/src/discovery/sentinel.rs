//! Sentinels: they know who the leader is, and they may be behind.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, Result};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;

use crate::{
    address::Address, error, node::Node, options::ReadFrom, pool::Pool, reply, topology::Topology,
};

/// The Sentinels, and what they call the leader.
#[derive(Debug)]
pub(crate) struct Sentinels {
    pub(crate) addresses: Vec<Address>,
    pub(crate) service_name: String,
}

impl Sentinels {
    /// Asks all at once, and takes the first whose leader says itself that it is one.
    pub(super) async fn discover(&self, pool: &Arc<Pool>) -> Result<Arc<Topology>> {
        let asked = self.addresses.iter().map(|it| self.ask(pool.sentinel(it), pool));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut failed: Option<Error> = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(topology) => return Ok(Arc::new(topology)),
                // That a name is not known says more than that somebody was not there.
                Err(error) if failed.is_none() || error.kind() == ErrorKind::Backend => {
                    failed = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(failed.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "no Sentinel was asked")))
    }

    async fn ask(&self, sentinel: Arc<Node>, pool: &Arc<Pool>) -> Result<Topology> {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.service_name];
        let answer = sentinel.query(&words).await;
        let leader = match answer.map_err(|it| not_a_sentinel(it, &sentinel))? {
            Value::Nil => return Err(self.unknown(&sentinel)),
            leader => address(reply::list(leader)?)?,
        };
        let leader = pool.node(&leader);
        verify(&leader).await?;
        let replicas = match pool.common.read_from {
            ReadFrom::Leader => Vec::new(),
            ReadFrom::Replica => self.replicas(&sentinel, pool).await?,
        };
        Ok(Topology::single(leader, replicas))
    }

    async fn replicas(&self, sentinel: &Node, pool: &Arc<Pool>) -> Result<Vec<Arc<Node>>> {
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
                res.push(pool.replica(&Address::Tcp { host: fact("ip").to_owned(), port }));
            }
        }
        Ok(res)
    }

    fn unknown(&self, sentinel: &Node) -> Error {
        let what =
            format!("the Sentinel knows no `{}`; see options.service_name", self.service_name);
        error::at(Error::new(ErrorKind::Backend, what), &sentinel.address)
    }
}

/// An ordinary server does not know what a Sentinel is asked.
fn not_a_sentinel(error: Error, asked: &Node) -> Error {
    if !error::is_unknown_command(&error) {
        return error;
    }
    let what = "this server is no Sentinel; with options.topology = \"sentinel\" location lists the Sentinels, often on port 26379";
    error::at(Error::new(ErrorKind::Backend, what), &asked.address)
}

/// A Sentinel that has missed a failover names the old leader, which may be there again as a replica.
async fn verify(leader: &Node) -> Result<()> {
    if leader.is_leader().await? {
        return Ok(());
    }
    let what = "the Sentinel names a leader that is a replica by now; a failover is under way";
    Err(error::at(Error::new(ErrorKind::Unavailable, what), &leader.address))
}

/// `[host, port]`, both as text.
fn address(parts: Vec<Value>) -> Result<Address> {
    let mut parts = parts.into_iter();
    let mut next = || reply::text(parts.next().unwrap_or_default()).map(Option::unwrap_or_default);
    let (host, port) = (next()?, next()?);
    match port.parse() {
        Ok(port) => Ok(Address::Tcp { host, port }),
        Err(_) => Err(Error::new(ErrorKind::Backend, "the Sentinel names a leader without a port")),
    }
}
