//! Commands about many keys: one pipeline for each connection, in chunks.

use std::{collections::BTreeMap, sync::Arc};

use cache_core::Result;
use futures_util::future::join_all;

use crate::route::{ReadTarget, checked, leader};
use crate::{
    encoder::{Change, Commands, Encoder, result},
    error,
    newer_commands::NewerCommands,
    node::Node,
    options::ReadFrom,
    pool::Pool,
    resp::Reply,
    topology::Topology,
};

/// The limits of one pipeline, in keys and (roughly) in bytes. Between two pipelines, the server
/// serves other clients.
const KEYS: usize = 1000;
const BYTES: usize = 1 << 20;
/// The most bytes in one command that writes many keys. A server with a small
/// `client-query-buffer-limit` closes the connection that sends more in one command.
const MOST_TOGETHER: usize = 512 << 10;

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
    /// The keys that they change. Their replies are single then.
    pub(crate) change: Change<'a>,
    pub(crate) together: Together<'a>,
}

/// A command that can replace the commands of a batch if one server holds all keys.
#[derive(Clone, Copy)]
pub(crate) enum Together<'a> {
    None,
    /// `MGET`, for `GET`.
    Get,
    /// `MSETEX`, for `SET`, if the server has it.
    Set {
        /// Appends the value of the key with this number.
        value: &'a (dyn Fn(usize, &mut Encoder<'_>) + Send + Sync),
        millis: Option<u64>,
    },
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
        // A transaction, which publishes the keys, is about one slot.
        let publishes = self.common.channels.as_ref().is_some_and(|it| it.always());
        let is_one_by_one = topology.is_cluster() && batch.change != Change::None && publishes;
        let groups =
            if is_one_by_one { Vec::new() } else { self.groups(batch, &topology, &mut res) };
        let answers = groups.iter().map(|it| self.execute_group(it, batch, &topology));
        for (group, answers) in groups.iter().zip(join_all(answers).await) {
            for (key, answer) in group.keys.iter().zip(answers) {
                res[*key] = answer;
            }
        }
        let redirected: Vec<usize> = (0..res.len()).filter(|it| res[*it].is_none()).collect();
        // These are few keys unless a Cluster migrates slots, or its writes publish their keys.
        // Each key is followed on its own.
        for chunk in redirected.chunks(KEYS) {
            let found = join_all(chunk.iter().map(|&key| async move {
                let encode = |out: &mut Encoder<'_>| (batch.encode)(key, out);
                let commands = Commands::many(batch.replies, &encode).of_size((batch.size)(key));
                let commands = commands.changing(batch.change.of_one());
                (key, self.execute(batch.keys[key], ReadTarget::Leader, &commands).await)
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
        let is_get = matches!(batch.together, Together::Get);
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
            let connection = if is_get { 0 } else { shard.leader.connection_of(key) };
            let group = groups.entry((shard_number, connection)).or_insert_with(|| Group {
                leader: Arc::clone(&shard.leader),
                replica: from_replica.then(|| shard.replica().cloned()).flatten(),
                connection,
                keys: Vec::new(),
            });
            group.keys.push(number);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        if is_get {
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
        // A server counts the bytes of a transaction like those of one command.
        let bytes = if self.common.channels.is_some() { MOST_TOGETHER } else { BYTES };
        for chunk in chunks(&group.keys, batch, bytes) {
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
                    let is_here =
                        self.redirect_in(&it, &group.leader).is_none() && !is_of_many_slots(&it);
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

/// Whether a transaction was refused because its keys belong to several slots. It had no effect.
fn is_of_many_slots(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(it) if it.code() == "CROSSSLOT")
}

/// Returns a reply for each key.
async fn execute_chunk(
    node: &Node,
    connection: usize,
    chunk: &[usize],
    batch: &Batch<'_>,
    topology: &Topology,
) -> Result<Vec<Reply>> {
    let together = |out: &mut Encoder<'_>| encode_together(out, chunk, batch);
    let each = |out: &mut Encoder<'_>| chunk.iter().for_each(|it| (batch.encode)(*it, out));
    let size = chunk.iter().map(|it| (batch.size)(*it)).sum();
    let keys: Vec<_> = chunk.iter().map(|it| batch.keys[*it]).collect();
    let change = batch.change.of_many(&keys);
    let together = Commands::one(&together).of_size(size).changing(&change);
    let each = Commands::many(chunk.len() * batch.replies, &each).of_size(size).changing(&change);
    // In a Cluster, a command with keys of several slots is rejected.
    let replies = match batch.together {
        Together::Get if !topology.is_cluster() => {
            let replies = node.send(connection, &|_| together).await?;
            return shared(replies, chunk.len());
        }
        Together::Set { .. }
            if !topology.is_cluster() && chunk.len() > 1 && size <= MOST_TOGETHER =>
        {
            let together = together.newer_if(true);
            let commands = |newer: &NewerCommands| if newer.set_many() { together } else { each };
            let replies = node.send(connection, &commands).await?;
            return if replies.len() == 1 { shared(replies, chunk.len()) } else { Ok(replies) };
        }
        _ => node.send(connection, &|_| each).await?,
    };
    if batch.replies == 1 {
        return Ok(replies);
    }
    let mut replies = replies.into_iter();
    Ok(chunk.iter().map(|_| result(batch.replies, replies.by_ref())).collect())
}

fn encode_together(out: &mut Encoder<'_>, chunk: &[usize], batch: &Batch<'_>) {
    match batch.together {
        Together::None => {}
        Together::Get => {
            out.begin(1 + chunk.len()).arg("MGET");
            for key in chunk {
                out.arg(batch.keys[*key]);
            }
        }
        Together::Set { value, millis } => {
            let lifetime = 2 * usize::from(millis.is_some());
            out.begin(2 + 2 * chunk.len() + lifetime).arg("MSETEX").number(chunk.len() as u64);
            for key in chunk {
                out.arg(batch.keys[*key]);
                value(*key, out);
            }
            if let Some(millis) = millis {
                out.arg("PX").number(millis);
            }
        }
    }
}

/// Takes the reply to one command about all keys. Returns a reply for each key.
fn shared(replies: Vec<Reply>, keys: usize) -> Result<Vec<Reply>> {
    match replies.into_iter().next().unwrap_or_default() {
        Reply::Array(values) if values.len() == keys => Ok(values),
        Reply::Int(1) => Ok(vec![Reply::Okay; keys]),
        Reply::Error(it) => Ok(vec![Reply::Error(it); keys]),
        other => Err(error::unexpected(&other)),
    }
}

/// Splits key numbers into chunks that fit into one pipeline.
fn chunks<'a>(keys: &'a [usize], batch: &Batch<'_>, most: usize) -> Vec<&'a [usize]> {
    let mut res = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, key) in keys.iter().enumerate() {
        let size = (batch.size)(*key) + batch.keys[*key].len();
        if i > begin && (i - begin >= KEYS || bytes + size > most) {
            res.push(&keys[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += size;
    }
    res.push(&keys[begin..]);
    res
}
