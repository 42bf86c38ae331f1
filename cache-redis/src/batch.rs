//! Commands about many keys: one pipeline for each connection, in chunks.

use std::{collections::BTreeMap, sync::Arc};

use cache_core::Result;
use futures_util::future::join_all;

use crate::route::{ReadTarget, checked, leader};
use crate::{
    encoder::{Commands, Encoder, result},
    error,
    node::Node,
    options::ReadFrom,
    pool::Pool,
    reply,
    resp::Reply,
    topology::Topology,
};

/// The limits of one pipeline, in keys and (roughly) in bytes. Between two pipelines, the server
/// serves other clients.
const KEYS: usize = 1000;
const BYTES: usize = 1 << 20;

/// Commands about many keys.
pub(crate) struct Batch<'a> {
    pub(crate) keys: &'a [&'a str],
    /// Encodes the commands about the key with this number.
    pub(crate) encode: &'a (dyn Fn(usize, &mut Encoder<'_>) + Send + Sync),
    /// The number of replies to them.
    pub(crate) replies: usize,
    /// Returns their size in bytes, without the key.
    pub(crate) size: &'a (dyn Fn(usize) -> usize + Send + Sync),
    pub(crate) target: ReadTarget,
    /// Whether the commands are `GET`. One `MGET` can replace them if one server holds all keys.
    pub(crate) is_get: bool,
}

/// The keys of one connection, by their numbers.
struct Group {
    leader: Arc<Node>,
    replica: Option<Arc<Node>>,
    connection: usize,
    keys: Vec<usize>,
}

impl Pool {
    /// Executes commands about many keys. Returns a result for each key, in order.
    pub(crate) async fn execute_many(self: &Arc<Self>, batch: &Batch<'_>) -> Vec<Result<Reply>> {
        if batch.keys.is_empty() {
            return Vec::new();
        }
        let topology = match self.topology().await {
            Ok(topology) => topology,
            Err(error) => return batch.keys.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut res: Vec<Option<Result<Reply>>> = Vec::new();
        res.resize_with(batch.keys.len(), || None);
        let groups = self.groups(batch, &topology, &mut res);
        let answers = groups.iter().map(|it| self.execute_group(it, batch, &topology));
        for (group, answers) in groups.iter().zip(join_all(answers).await) {
            for (key, answer) in group.keys.iter().zip(answers) {
                res[*key] = answer;
            }
        }
        let redirected: Vec<usize> = (0..res.len()).filter(|it| res[*it].is_none()).collect();
        // These are few keys unless a Cluster migrates slots. Each key is followed on its own.
        for chunk in redirected.chunks(KEYS) {
            let found = join_all(chunk.iter().map(|&key| async move {
                let encode = |out: &mut Encoder<'_>| (batch.encode)(key, out);
                let commands = Commands::many(batch.replies, &encode).of_size((batch.size)(key));
                (key, self.execute(batch.keys[key], ReadTarget::Leader, commands).await)
            }));
            for (key, answer) in found.await {
                res[key] = Some(answer);
            }
        }
        let answer = |it: Option<Result<Reply>>| match it.unwrap_or(Ok(Reply::Nil))? {
            Reply::Error(it) => Err(error::from_reply(&it)),
            answer => Ok(answer),
        };
        res.into_iter().map(answer).collect()
    }

    fn groups(
        &self,
        batch: &Batch<'_>,
        topology: &Topology,
        res: &mut [Option<Result<Reply>>],
    ) -> Vec<Group> {
        let from_replica =
            batch.target == ReadTarget::Any && self.common.read_from == ReadFrom::Replica;
        let mut groups: BTreeMap<(usize, usize), Group> = BTreeMap::new();
        for (number, key) in batch.keys.iter().enumerate() {
            let slot = topology.slot(key);
            let Some((shard_number, shard)) = topology.shard(slot) else {
                let unassigned = leader(topology, slot).map(|_| Reply::Nil);
                res[number] = Some(unassigned.map_err(|it| self.note_failure(it)));
                continue;
            };
            // Reads do not need the connection of their key, because they cannot overtake
            // acknowledged writes. Writes do, to keep their order.
            let connection = if batch.is_get { 0 } else { shard.leader.connection_of(key) };
            let group = groups.entry((shard_number, connection)).or_insert_with(|| Group {
                leader: Arc::clone(&shard.leader),
                replica: from_replica.then(|| shard.replica().cloned()).flatten(),
                connection,
                keys: Vec::new(),
            });
            group.keys.push(number);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        if batch.is_get {
            // Spread batches over the connections, by their first key.
            for it in &mut groups {
                it.connection =
                    it.keys.first().map_or(0, |key| it.leader.connection_of(batch.keys[*key]));
            }
        }
        groups
    }

    /// Executes one chunk after another. Returns a result for each key of the group, or `None` if
    /// the key was redirected.
    async fn execute_group(
        &self,
        group: &Group,
        batch: &Batch<'_>,
        topology: &Topology,
    ) -> Vec<Option<Result<Reply>>> {
        let mut res = Vec::with_capacity(group.keys.len());
        for chunk in chunks(&group.keys, batch) {
            if let Some(replica) = &group.replica
                && let Ok(replies) =
                    execute_chunk(replica, group.connection, chunk, batch, topology)
                        .await
                        .map_err(|it| self.note_failure(it))
                && !replies.iter().any(|it| matches!(it, Reply::Error(_)))
            {
                res.extend(replies.into_iter().map(|it| Some(Ok(it))));
                continue;
            }
            match execute_chunk(&group.leader, group.connection, chunk, batch, topology).await {
                Ok(replies) => res.extend(replies.into_iter().map(|it| {
                    let is_here = self.redirect_in(&it, &group.leader).is_none();
                    is_here.then(|| checked(it, &group.leader))
                })),
                Err(error) if error::is_demoted(&error) => {
                    res.extend(chunk.iter().map(|_| None));
                }
                Err(error) => {
                    let error = self.note_failure(error);
                    res.extend(chunk.iter().map(|_| Some(Err(error.clone()))));
                }
            }
        }
        res
    }
}

async fn execute_chunk(
    node: &Node,
    connection: usize,
    chunk: &[usize],
    batch: &Batch<'_>,
    topology: &Topology,
) -> Result<Vec<Reply>> {
    // In a Cluster, a command with keys of several slots is rejected.
    if batch.is_get && !topology.is_cluster() {
        let get = |out: &mut Encoder<'_>| {
            out.begin(1 + chunk.len()).arg("MGET");
            for key in chunk {
                out.arg(batch.keys[*key]);
            }
        };
        let get = Commands::one(&get);
        let answer = node.send(connection, get).await?.into_iter().next().unwrap_or_default();
        return match answer {
            Reply::Error(it) => Ok(chunk.iter().map(|_| Reply::Error(it.clone())).collect()),
            answer => match reply::list(answer)? {
                values if values.len() == chunk.len() => Ok(values),
                _ => Err(error::unexpected(&Reply::Nil)),
            },
        };
    }
    let encode = |out: &mut Encoder<'_>| chunk.iter().for_each(|it| (batch.encode)(*it, out));
    let size = chunk.iter().map(|it| (batch.size)(*it)).sum();
    let commands = Commands::many(chunk.len() * batch.replies, &encode).of_size(size);
    let replies = node.send(connection, commands).await?;
    if batch.replies == 1 {
        return Ok(replies);
    }
    let mut replies = replies.into_iter();
    Ok(chunk.iter().map(|_| result(batch.replies, replies.by_ref())).collect())
}

/// Splits key numbers into chunks that fit into one pipeline.
fn chunks<'a>(keys: &'a [usize], batch: &Batch<'_>) -> Vec<&'a [usize]> {
    let mut res = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, key) in keys.iter().enumerate() {
        let size = (batch.size)(*key) + batch.keys[*key].len();
        if i > begin && (i - begin >= KEYS || bytes + size > BYTES) {
            res.push(&keys[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += size;
    }
    res.push(&keys[begin..]);
    res
}
