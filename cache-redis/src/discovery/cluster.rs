//! A Cluster: every node knows which node serves which slots.

use std::{sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Result};
use cache_net::staggered;

use crate::{
    address::Address,
    node::Node,
    nodes::Nodes,
    reply,
    resp::Reply,
    topology::{Range, Shard, Topology},
};

/// How long to wait for a node before the next node is queried as well. Most nodes answer sooner.
const PAUSE: Duration = Duration::from_millis(20);

/// Queries the known nodes, then the nodes in the settings. The queries overlap, so that a node
/// that does not answer delays the result by [`PAUSE`] only.
pub(super) async fn discover(
    seeds: &[Address],
    nodes: &Nodes,
    known: Option<Arc<Topology>>,
) -> Result<Arc<Topology>> {
    let known: Vec<_> = known.iter().flat_map(|it| it.nodes()).cloned().collect();
    let seeds = seeds.iter().filter(|it| known.iter().all(|known| known.address != **it));
    let seeds: Vec<_> = seeds.map(|it| nodes.leader(it)).collect();
    let attempts = known.into_iter().chain(seeds).map(|it| query_slots(it, nodes));
    let clock = nodes.clock();
    let topology = staggered(clock, PAUSE, attempts).await.map_err(|mut failed| {
        let none = || Error::new(ErrorKind::Unavailable, "the cluster has no known node");
        failed.pop().unwrap_or_else(none)
    });
    topology.map(Arc::new)
}

/// Returns the addresses of the leaders, in order, as this node knows them.
pub(crate) async fn leaders_known_to(node: &Arc<Node>, nodes: &Nodes) -> Result<Vec<Address>> {
    Ok(query_slots(Arc::clone(node), nodes).await?.leaders())
}

async fn query_slots(node: Arc<Node>, nodes: &Nodes) -> Result<Topology> {
    let slots = node.query(&["CLUSTER", "SLOTS"]).await?;
    let mut shards: Vec<Shard> = Vec::new();
    let mut ranges: Vec<Range> = Vec::new();
    for range in reply::list(slots)? {
        let mut parts = reply::list(range)?.into_iter();
        let mut bound = || {
            reply::integer(&parts.next().unwrap_or_default())
                .map(|it| u16::try_from(it).unwrap_or(u16::MAX))
        };
        let (first, last) = (bound()?, bound()?);
        let mut servers = parts.map(|it| address(it, &node.address));
        let Some(leader) = servers.next().transpose()?.flatten() else { continue };
        let known = shards.iter().position(|it| it.leader.address == leader);
        let number = if let Some(it) = known {
            it
        } else {
            let replicas: Result<Vec<_>> = servers.filter_map(Result::transpose).collect();
            let replicas = replicas?.iter().map(|it| nodes.replica(it)).collect();
            shards.push(Shard::new(nodes.leader(&leader), replicas));
            shards.len() - 1
        };
        ranges.push((first, last, number));
    }
    if ranges.is_empty() {
        let what = "this node of the cluster knows no server of any slot";
        return Err(Error::new(ErrorKind::Unavailable, what)
            .with_context("server", node.address.to_string()));
    }
    Ok(Topology::with_slots(shards, &ranges))
}

/// Parses `[host, port, id, …]`. Without a host, it is the host of the queried node. `?` is a host
/// that is not known yet.
fn address(server: Reply, queried: &Address) -> Result<Option<Address>> {
    let mut parts = reply::list(server)?.into_iter();
    let host = reply::text(parts.next().unwrap_or_default())?.filter(|it| !it.is_empty());
    let port = reply::integer(&parts.next().unwrap_or_default())?;
    Ok(at(host.as_deref(), port, queried))
}

fn at(host: Option<&str>, port: i64, queried: &Address) -> Option<Address> {
    let port = u16::try_from(port).ok().filter(|it| *it > 0)?;
    let host = match (host, queried) {
        (Some("?"), _) | (None, Address::Unix(_)) => return None,
        (Some(host), _) => host.to_owned(),
        (None, Address::Tcp { host, .. }) => host.clone(),
    };
    Some(Address::Tcp { host, port })
}

/// Parses the address in `MOVED` and `ASK`: `host:port`, where the host may be absent or an IPv6
/// address.
pub(crate) fn parse_redirect(text: &str, queried: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    at((!host.is_empty()).then_some(host), port.parse().ok()?, queried)
}

/// Returns the servers to which this leader migrates slots: the addresses of each server, best
/// first.
pub(crate) async fn migration_targets(node: &Node) -> Result<Vec<Vec<Address>>> {
    let nodes = reply::text(node.query(&["CLUSTER", "NODES"]).await?)?.unwrap_or_default();
    Ok(parse_migrations(&nodes, &node.address))
}

/// Parses `<id> <ip>:<port>@<bus>[,<host>] [myself,]<flags> … [[<slot>->-<id>] …`.
fn parse_migrations(nodes: &str, queried: &Address) -> Vec<Vec<Address>> {
    let is_me = |it: &&str| it.split(' ').nth(2).is_some_and(|it| it.contains("myself"));
    let slots = nodes.lines().find(is_me).into_iter().flat_map(|it| it.split(' ').skip(8));
    let ids = slots.filter_map(|it| it.strip_suffix(']')?.split_once("->-")).map(|(_, id)| id);
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let addresses = |id: &str| {
        let mut words = nodes.lines().find(|it| it.starts_with(id))?.split(' ').skip(1);
        let (address, rest) = words.next()?.split_once('@')?;
        let port = address.rsplit_once(':')?.1;
        let host = rest.split(',').nth(1).filter(|it| !it.is_empty());
        let by_name = host.and_then(|it| parse_redirect(&format!("{it}:{port}"), queried));
        Some(parse_redirect(address, queried).into_iter().chain(by_name).collect())
    };
    // `clear` cannot reach a server that the node does not know any more, but the migration counts.
    ids.into_iter().map(|id| addresses(id).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_slot_names_its_target() {
        let queried = Address::Tcp { host: "asked".into(), port: 1 };
        let tcp = |host: &str, port| Address::Tcp { host: host.into(), port };
        let nodes = "a1 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5 7 [5->-b2] [7->-b2] [9-<-c3]\n\
                     b2 10.0.0.2:7001@17001,two.example,shard-id=x master - 0 0 2 connected\n\
                     c3 :7002@17002 master - 0 0 3 connected 9 [11->-a1]\n";
        let two = vec![tcp("10.0.0.2", 7001), tcp("two.example", 7001)];
        assert_eq!(parse_migrations(nodes, &queried), [two]);
        let nodes = nodes.replace("master - 0 0 3", "myself,master - 0 0 3");
        let (_, nodes) = nodes.split_once('\n').unwrap();
        assert_eq!(parse_migrations(nodes, &queried), [Vec::new()]);
        assert!(parse_migrations("", &queried).is_empty());
    }

    #[test]
    fn redirect_names_a_server() {
        let queried = Address::Tcp { host: "asked".into(), port: 1 };
        let tcp = |host: &str, port| Some(Address::Tcp { host: host.into(), port });
        assert_eq!(parse_redirect("10.0.0.1:7000", &queried), tcp("10.0.0.1", 7000));
        assert_eq!(parse_redirect("::1:7000", &queried), tcp("::1", 7000));
        assert_eq!(parse_redirect(":7000", &queried), tcp("asked", 7000));
        for odd in ["", "host", "host:0", "host:99999", "?:7000"] {
            assert_eq!(parse_redirect(odd, &queried), None, "{odd}");
        }
    }
}
