//! What concerns servers as a whole: clearing, checking.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, Result, store::Namespace};
use cache_net::first_error;
use futures_util::future::join_all;
use redis::Value;

use crate::{
    batch::Batch, command::Commands, discovery, error, node::Node, options::ReadFrom, pool::Pool,
    reply, route::ReadTarget, topology::Topology,
};

/// How many keys a step of `SCAN` looks at: the server answers others in between.
const STEP: &str = "1000";
/// How often a Cluster is looked through anew because keys have moved meanwhile.
const ROUNDS: usize = 5;

impl Pool {
    /// Removes the namespace's keys.
    pub(crate) async fn clear(self: &Arc<Self>, namespace: &Namespace) -> Result<()> {
        self.clear_all(&Scope::Namespace(namespace, pattern(namespace))).await
    }

    /// Removes all there is.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<()> {
        self.clear_all(&Scope::All).await
    }

    /// Asks every server that is needed whether it serves.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<()> {
        let topology = self.refresh_and_wait().await?;
        let replicas = self.common.read_from == ReadFrom::Replica;
        let leaders = topology.shards.iter().map(|it| &it.leader);
        let rest = topology.shards.iter().flat_map(|it| &it.replicas).filter(|_| replicas);
        let roles = join_all(leaders.clone().map(|it| check_is_leader(it))).await;
        first_error(roles)?;
        first_error(join_all(leaders.chain(rest).map(|it| it.check())).await)
    }

    /// Removes it from every leader: of a Cluster, until no key can have been missed because it moved.
    async fn clear_all(self: &Arc<Self>, scope: &Scope<'_>) -> Result<()> {
        let mut topology = self.topology().await?;
        if !topology.is_cluster() {
            return self.clear_nodes(&leaders(&topology), scope).await;
        }
        let mut calm = 0;
        for _ in 0..ROUNDS {
            let migrations = self.migrations(&topology).await;
            let nodes: Vec<_> = leaders(&topology).into_iter().chain(migrations.to).collect();
            self.clear_nodes(&nodes, scope).await?;
            // A key that moved from one that was not yet looked through to one that was, was not seen.
            let before = topology;
            topology = self.refresh_and_wait().await?;
            if !has_same_leaders(&before, &topology) {
                calm = 0;
                continue;
            }
            calm += 1;
            // While a slot moves, each of its keys goes once: one that was not seen stays where it is now.
            if calm == 2 || !(migrations.any || self.migrations(&topology).await.any) {
                return Ok(());
            }
        }
        let error = "the cluster is being rebuilt, and keys move faster than they can be cleared; try again later";
        Err(Error::new(ErrorKind::Unavailable, error))
    }

    async fn clear_nodes(self: &Arc<Self>, nodes: &[Arc<Node>], scope: &Scope<'_>) -> Result<()> {
        first_error(join_all(nodes.iter().map(|it| self.clear_node(it, scope))).await)
    }

    async fn clear_node(self: &Arc<Self>, node: &Arc<Node>, scope: &Scope<'_>) -> Result<()> {
        match scope {
            // Empty at once; the memory is freed beside the server's work.
            Scope::All => node.query(&["FLUSHDB", "ASYNC"]).await.map(drop),
            Scope::Namespace(namespace, pattern) => self.scan(node, pattern, namespace).await,
        }
    }

    /// Asks each leader which slots it is giving away.
    async fn migrations(self: &Arc<Self>, topology: &Topology) -> Migrations {
        let leaders = leaders(topology);
        let answers = join_all(leaders.iter().map(|it| discovery::migration_targets(it))).await;
        let mut res = Migrations { any: false, to: Vec::new() };
        for it in answers {
            let Ok(to) = it else {
                // Perhaps it may not be asked, by its ACL: then there may be some.
                res.any = true;
                continue;
            };
            res.any |= !to.is_empty();
            for names in to {
                let is_known = leaders.iter().chain(&res.to).any(|it| names.contains(&it.address));
                if let (false, Some(address)) = (is_known, names.first()) {
                    res.to.push(self.node(address));
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

    /// Removes those of the found keys that are the namespace's.
    async fn remove(self: &Arc<Self>, found: Vec<Value>, namespace: &Namespace) -> Result<()> {
        let keys = found.into_iter().filter_map(|it| match it {
            // What is no text is not ours.
            Value::BulkString(it) => String::from_utf8(it).ok(),
            _ => None,
        });
        let keys: Vec<String> = keys.filter(|it| namespace.contains(it)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let commands = |i: usize| Commands::of(&["UNLINK", keys[i]]);
        let batch = Batch {
            keys: &keys,
            commands: &commands,
            size: &|_| 0,
            target: ReadTarget::Leader,
            is_get: false,
        };
        let answers = self.execute_many(&batch).await.into_iter();
        first_error(answers.map(|it| it.and_then(|it| reply::integer(&it))))
    }
}

/// What is removed.
enum Scope<'a> {
    /// What the namespace holds, and what all of its keys look like.
    Namespace(&'a Namespace, String),
    All,
}

/// What is known of the slots of a Cluster that are on their way.
struct Migrations {
    /// There are some, or there may be.
    any: bool,
    /// Servers that are given keys and have no slot yet.
    to: Vec<Arc<Node>>,
}

fn leaders(topology: &Topology) -> Vec<Arc<Node>> {
    topology.shards.iter().map(|it| Arc::clone(&it.leader)).collect()
}

/// A replica in a leader's place would answer reads, and refuse each write.
async fn check_is_leader(node: &Node) -> Result<()> {
    if node.is_leader().await? {
        return Ok(());
    }
    let what = "this server is a replica and takes no writes; of several servers, location lists the leader first";
    Err(error::at(Error::new(ErrorKind::Backend, what), &node.address))
}

fn has_same_leaders(before: &Topology, after: &Topology) -> bool {
    let leader =
        |topology: &Topology, slot| topology.shard(slot).map(|(_, it)| it.leader.address.clone());
    (0..crate::slot::SLOTS).all(|slot| leader(before, slot) == leader(after, slot))
}

/// What all keys of the namespace look like. Signs that mean something in a pattern mean themselves.
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
    fn signs_of_patterns_are_escaped() {
        let pattern = |prefix| pattern(&Namespace::new(prefix).unwrap());
        assert_eq!(pattern(""), ":*:*");
        assert_eq!(pattern("shop"), "shop:*:*");
        assert_eq!(pattern(r"a*b?[c]\d^-"), r"a\*b\?\[c\]\\d\^\-:*:*");
    }
}
