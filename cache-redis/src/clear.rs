//! Operations on whole servers: `clear`, `clear_store` and `check`.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, Result, store::Namespace};
use cache_net::first_error;
use futures_util::future::join_all;

use crate::{
    address::Address,
    batch::{Batch, Together},
    discovery,
    encoder::Change,
    error,
    node::Node,
    options::ReadFrom,
    pool::Pool,
    reply,
    resp::Reply,
    route::ReadTarget,
    topology::Topology,
};

/// The number of keys in one step of `SCAN`. Between two steps, the server serves other clients.
const STEP: &str = "1000";
/// How many times a Cluster is scanned, at most, while its slots migrate.
const ROUNDS: usize = 5;

impl Pool {
    /// Removes all keys of the namespace.
    pub(crate) async fn clear(self: &Arc<Self>, namespace: &Namespace) -> Result<()> {
        self.clear_all(&Scope::Namespace(namespace, pattern(namespace))).await
    }

    /// Removes all keys of the database.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<()> {
        self.clear_all(&Scope::All).await
    }

    /// Checks that every required server answers and has the right role.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<()> {
        let topology = self.refresh_and_wait().await?;
        let replicas = self.common.read_from == ReadFrom::Replica;
        let leaders = topology.shards.iter().map(|it| &it.leader);
        let rest = topology.shards.iter().flat_map(|it| &it.replicas).filter(|_| replicas);
        let roles = join_all(leaders.clone().map(|it| check_is_leader(it))).await;
        first_error(roles)?;
        first_error(join_all(leaders.chain(rest).map(|it| it.check())).await)
    }

    /// Removes keys from every leader. In a Cluster, repeats this until no migrated key can have
    /// been missed.
    async fn clear_all(self: &Arc<Self>, scope: &Scope<'_>) -> Result<()> {
        let mut topology = self.topology().await?;
        if !topology.is_cluster() {
            return self.clear_nodes(&topology.leader_nodes(), scope).await;
        }
        let mut calm = 0;
        for _ in 0..ROUNDS {
            let migrations = self.migrations(&topology).await;
            let nodes: Vec<_> = topology.leader_nodes().into_iter().chain(migrations.to).collect();
            self.clear_nodes(&nodes, scope).await?;
            // A key is missed if it migrates from a server that was not scanned yet to a server
            // that was already scanned.
            let before = topology;
            topology = self.refresh_and_wait().await?;
            if !has_same_leaders(&before, &topology) {
                calm = 0;
                continue;
            }
            calm += 1;
            // Each key migrates only once during a slot migration, so a missed key is found in the
            // next round.
            if calm == 2 || !(migrations.any || self.migrations(&topology).await.any) {
                return Ok(());
            }
        }
        let error =
            "the slots of the cluster migrate faster than they can be cleared; try again later";
        Err(Error::new(ErrorKind::Unavailable, error))
    }

    async fn clear_nodes(self: &Arc<Self>, nodes: &[Arc<Node>], scope: &Scope<'_>) -> Result<()> {
        first_error(join_all(nodes.iter().map(|it| self.clear_node(it, scope))).await)
    }

    async fn clear_node(self: &Arc<Self>, node: &Arc<Node>, scope: &Scope<'_>) -> Result<()> {
        match scope {
            // The database is empty at once. The server frees the memory in the background.
            Scope::All => node.change(&["FLUSHDB", "ASYNC"], &Change::Database).await.map(drop),
            Scope::Namespace(namespace, pattern) => self.scan(node, pattern, namespace).await,
        }
    }

    /// Queries each leader for the slots that it migrates.
    pub(crate) async fn migrations(self: &Arc<Self>, topology: &Topology) -> Migrations {
        let leaders = topology.leader_nodes();
        let answers = join_all(leaders.iter().map(|it| discovery::migration_targets(it))).await;
        let mut res = Migrations::default();
        for it in answers {
            let Ok(to) = it else {
                // The ACL may forbid the command. Then there may be migrations.
                res.any = true;
                continue;
            };
            res.any |= !to.is_empty();
            for names in to {
                let is_known = leaders.iter().chain(&res.to).any(|it| names.contains(&it.address));
                if let (false, Some(address)) = (is_known, names.first()) {
                    res.to.push(self.nodes.leader(address));
                    res.names.extend(names);
                }
            }
        }
        res
    }

    async fn scan(
        self: &Arc<Self>,
        node: &Arc<Node>,
        pattern: &str,
        namespace: &Namespace,
    ) -> Result<()> {
        let mut cursor = "0".to_owned();
        loop {
            let step = ["SCAN", &cursor, "MATCH", pattern, "COUNT", STEP];
            let mut answer = reply::list(node.query(&step).await?)?.into_iter();
            let next = reply::text(answer.next().unwrap_or_default())?.unwrap_or_default();
            let found = reply::list(answer.next().unwrap_or_default())?;
            self.remove(found, namespace).await?;
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Removes the found keys that belong to the namespace.
    async fn remove(self: &Arc<Self>, found: Vec<Reply>, namespace: &Namespace) -> Result<()> {
        let keys = found.into_iter().filter_map(|it| match it {
            // All keys of this library are text.
            Reply::Bulk(it) => String::from_utf8(it.into()).ok(),
            _ => None,
        });
        let keys: Vec<String> = keys.filter(|it| namespace.contains(it)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let batch = Batch {
            keys: &keys,
            encode: &|i, out| out.command(&["UNLINK", keys[i]]),
            replies: 1,
            size: &|_| 0,
            target: ReadTarget::Leader,
            change: Change::Namespace,
            together: Together::None,
        };
        let answers = self.execute_many(&batch).await.into_iter();
        first_error(answers.map(|it| it.and_then(|it| reply::integer(&it))))
    }
}

/// The keys to remove.
enum Scope<'a> {
    /// The namespace, and the pattern of its keys.
    Namespace(&'a Namespace, String),
    All,
}

/// The known slot migrations of a Cluster.
#[derive(Debug, Default)]
pub(crate) struct Migrations {
    /// Whether there are migrations, or whether their absence is not certain.
    any: bool,
    /// Servers that receive keys but have no slot yet.
    pub(crate) to: Vec<Arc<Node>>,
    /// All addresses of these servers.
    pub(crate) names: Vec<Address>,
}

/// A replica in the place of the leader would serve reads but reject each write.
async fn check_is_leader(node: &Node) -> Result<()> {
    if node.is_leader().await? {
        return Ok(());
    }
    let what = "this server is a replica and does not accept writes; in a list of servers, location names the leader first";
    Err(error::at(Error::new(ErrorKind::Backend, what), &node.address))
}

fn has_same_leaders(before: &Topology, after: &Topology) -> bool {
    let leader =
        |topology: &Topology, slot| topology.shard(slot).map(|(_, it)| it.leader.address.clone());
    (0..crate::slot::SLOTS).all(|slot| leader(before, slot) == leader(after, slot))
}

/// Returns the pattern that all keys of the namespace match. Special characters in the prefix are
/// escaped.
fn pattern(namespace: &Namespace) -> String {
    let mut res = String::new();
    for it in namespace.prefix().chars() {
        if matches!(it, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            res.push('\\');
        }
        res.push(it);
    }
    res + ":*:*"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_patterns_are_escaped() {
        let pattern = |prefix| pattern(&Namespace::new(prefix).unwrap());
        assert_eq!(pattern(""), ":*:*");
        assert_eq!(pattern("shop"), "shop:*:*");
        assert_eq!(pattern(r"a*b?[c]\d^-"), r"a\*b\?\[c\]\\d\^\-:*:*");
    }
}
