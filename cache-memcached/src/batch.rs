//! Commands about many keys: one pipeline for each server, in chunks. Each key has its own result.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cache_core::{ErrorKind, Result};
use futures_util::future::join_all;
use memcache::exp::MetaCommand;

use crate::{
    address::Address,
    command, error,
    pool::Pool,
    reply::Reply,
    server::{Caller, Doubted, Member},
    store::Memcached,
};

/// The largest number of keys in one pipeline. If the commands exceed the buffers of the
/// connection, server and client wait for each other to read.
const KEYS: usize = 250;
/// The largest size of one pipeline in bytes, roughly.
const BYTES: usize = 1 << 20;

impl Memcached {
    /// Sends a command for each of many keys. Returns a result for each key, in order.
    pub(crate) async fn execute_many<T: Send>(
        &self,
        keys: &[&str],
        command: impl Fn(usize, String) -> MetaCommand + Send + Sync,
        size: impl Fn(usize) -> usize + Send + Sync,
        read: fn(Reply, &Address) -> Result<T>,
    ) -> Vec<Result<T>> {
        let mut res: Vec<Option<Result<T>>> = keys.iter().map(|_| None).collect();
        let pool = match self.pool() {
            Ok(pool) => pool,
            Err(error) => return keys.iter().map(|_| Err(error.clone())).collect(),
        };
        let groups = groups(&pool, keys, &mut res);
        let answers = groups
            .iter()
            .map(|(member, group)| execute_group(member, group, keys, &command, &size));
        for ((member, group), answers) in groups.iter().zip(join_all(answers).await) {
            for (&number, answer) in group.iter().zip(answers) {
                res[number] = Some(answer.and_then(|it| read(it, member.address())));
            }
        }
        let missing = || Err(error::missing_reply());
        res.into_iter().map(|it| it.unwrap_or_else(missing)).collect()
    }

    /// Writes many entries. A value that a server rejects fails alone, and its old entry is
    /// deleted.
    pub(crate) async fn write_many(
        &self,
        items: &[(&str, Bytes)],
        seconds: u64,
    ) -> Vec<Result<()>> {
        let keys: Vec<&str> = items.iter().map(|(key, _)| *key).collect();
        let too_large: Vec<_> = items.iter().map(|(_, value)| self.too_large(value)).collect();
        let command = |i: usize, key: String| match &too_large[i] {
            None => command::set(key, items[i].1.as_ref(), seconds),
            Some(_) => command::delete(key),
        };
        let size = |i: usize| items[i].1.len();
        let written =
            self.execute_many(&keys, command, size, |it, at| command::done(&it, at)).await;
        let mut res = Vec::with_capacity(items.len());
        for ((written, too_large), (key, value)) in written.into_iter().zip(too_large).zip(items) {
            res.push(match (written, too_large) {
                (Ok(true), None) => Ok(()),
                (Ok(false), None) => Err(error::missing_reply()),
                // The server rejected a value of this pipeline, and the replies to the others were
                // not read.
                (Err(error), None)
                    if matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Backend) =>
                {
                    self.write_alone(key, value, seconds).await
                }
                (Ok(_), Some(error)) | (Err(error), _) => Err(error),
            });
        }
        res
    }

    async fn write_alone(&self, key: &str, value: &Bytes, seconds: u64) -> Result<()> {
        let location = self.locate(key)?;
        let written = location.ask(|key| command::set(key, value.as_ref(), seconds)).await;
        match written {
            Ok(answer) if command::done(&answer, location.address())? => Ok(()),
            Ok(_) => Err(error::unexpected_reply(location.address())),
            Err(error) => {
                if error.kind() == ErrorKind::TooLarge {
                    location.ask(command::delete).await?;
                }
                Err(error)
            }
        }
    }
}

/// Returns the key numbers of each server.
fn groups<T>(
    pool: &Pool,
    keys: &[&str],
    res: &mut [Option<Result<T>>],
) -> Vec<(Arc<Member>, Vec<usize>)> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, key) in keys.iter().enumerate() {
        match pool.number(key) {
            Ok(server) => groups.entry(server).or_default().push(number),
            Err(error) => res[number] = Some(Err(error)),
        }
    }
    groups.into_iter().map(|(server, group)| (Arc::clone(&pool.members[server]), group)).collect()
}

/// Sends one chunk after another.
async fn execute_group(
    member: &Arc<Member>,
    group: &[usize],
    keys: &[&str],
    command: &(impl Fn(usize, String) -> MetaCommand + Send + Sync),
    size: &(impl Fn(usize) -> usize + Send + Sync),
) -> Vec<Result<Reply>> {
    let mut res = Vec::with_capacity(group.len());
    for chunk in chunks(group, size) {
        match execute_chunk(member, chunk, keys, command).await {
            Ok(answers) => res.extend(answers.into_iter().map(Ok)),
            Err(error) => res.extend(chunk.iter().map(|_| Err(error.clone()))),
        }
    }
    res
}

async fn execute_chunk(
    member: &Arc<Member>,
    chunk: &[usize],
    keys: &[&str],
    command: &(impl Fn(usize, String) -> MetaCommand + Send + Sync),
) -> Result<Vec<Reply>> {
    let mut tries = Doubted::default();
    loop {
        let doubts = member.doubts(&mut tries).await?;
        let mut commands = Vec::with_capacity(chunk.len());
        for &number in chunk {
            let names = member.names(keys[number]).await?;
            commands.push(command(number, names.entry(keys[number])));
        }
        if let Some(answers) = member.exchange(Caller::Future, commands, Some(doubts)).await? {
            return Ok(answers);
        }
    }
}

/// Splits key numbers into chunks that fit into one pipeline.
fn chunks<'a>(group: &'a [usize], size: &impl Fn(usize) -> usize) -> Vec<&'a [usize]> {
    let mut res = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, &number) in group.iter().enumerate() {
        let size = size(number);
        if i > begin && (i - begin >= KEYS || bytes + size > BYTES) {
            res.push(&group[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += size;
    }
    res.push(&group[begin..]);
    res
}
