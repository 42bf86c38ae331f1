//! Commands about many keys: one pipeline for each server, in chunks. Each key has its own result.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result};
use futures_util::future::join_all;

use crate::{
    address::Address,
    command::{self, Command, Mode},
    error,
    key::Key,
    outcome,
    pool::Pool,
    reply::Reply,
    server::{Attempts, Member},
    store::Memcached,
};

/// The largest number of keys in one pipeline. Other calls wait behind it.
const KEYS: usize = 250;
/// The largest size of one pipeline in bytes, roughly.
const BYTES: usize = 1 << 20;

impl Memcached {
    /// Sends a command for each of many keys. Returns a result for each key, in order.
    pub(crate) async fn execute_many<'c, T: Send>(
        &self,
        keys: &'c [&'c str],
        command: impl Fn(usize, Key<'c>) -> Command<'c> + Send + Sync,
        size: impl Fn(usize) -> usize + Send + Sync,
        read: fn(Reply, &Address) -> Result<T>,
    ) -> Vec<Result<T>> {
        let mut res: Vec<Option<Result<T>>> = keys.iter().map(|_| None).collect();
        let pool = match self.pool() {
            Ok(pool) => pool,
            Err(error) => return keys.iter().map(|_| Err(error.clone())).collect(),
        };
        let groups = groups(&pool, keys, &mut res);
        let replies = groups.iter().map(|it| it.execute(keys, &command, &size));
        for (group, replies) in groups.iter().zip(join_all(replies).await) {
            for (&number, reply) in group.numbers.iter().zip(replies) {
                res[number] = Some(reply.and_then(|it| read(it, group.member.address())));
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
        let command = |i: usize, key| match &too_large[i] {
            None => command::set(key, &items[i].1, Mode::Always, seconds),
            Some(_) => command::delete(key),
        };
        let size = |i: usize| items[i].1.len();
        let written =
            self.execute_many(&keys, command, size, |it, at| outcome::done(&it, at)).await;
        let mut res = Vec::with_capacity(items.len());
        for ((written, too_large), key) in written.into_iter().zip(too_large).zip(&keys) {
            res.push(match (written, too_large) {
                (_, Some(error)) => Err(error),
                (Ok(true), None) => Ok(()),
                (Ok(false), None) => Err(error::missing_reply()),
                (Err(error), None) => self.rejected(key, error).await,
            });
        }
        res
    }

    /// Deletes the old entry if the server rejected the new value. Returns the error.
    async fn rejected(&self, key: &str, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::TooLarge {
            self.locate(key)?.send(command::delete).await?;
        }
        Err(error)
    }
}

/// The keys of one connection, by their numbers.
struct Group {
    member: Arc<Member>,
    connection: usize,
    numbers: Vec<usize>,
}

fn groups<T>(pool: &Pool, keys: &[&str], res: &mut [Option<Result<T>>]) -> Vec<Group> {
    let mut groups: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (number, key) in keys.iter().enumerate() {
        match pool.number(key) {
            Ok(server) => {
                let connection = pool.members[server].connection_of(key);
                groups.entry((server, connection)).or_default().push(number);
            }
            Err(error) => res[number] = Some(Err(error)),
        }
    }
    let group = |((server, connection), numbers)| Group {
        member: Arc::clone(&pool.members[server]),
        connection,
        numbers,
    };
    groups.into_iter().map(group).collect()
}

impl Group {
    /// Sends one chunk after another.
    async fn execute<'c>(
        &self,
        keys: &'c [&'c str],
        command: &(impl Fn(usize, Key<'c>) -> Command<'c> + Send + Sync),
        size: &(impl Fn(usize) -> usize + Send + Sync),
    ) -> Vec<Result<Reply>> {
        let mut res = Vec::with_capacity(self.numbers.len());
        for chunk in chunks(&self.numbers, size) {
            match self.execute_chunk(chunk, keys, command).await {
                Ok(replies) => res.extend(replies),
                Err(error) => res.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        res
    }

    async fn execute_chunk<'c>(
        &self,
        chunk: &[usize],
        keys: &'c [&'c str],
        command: &(impl Fn(usize, Key<'c>) -> Command<'c> + Send + Sync),
    ) -> Result<Vec<Result<Reply>>> {
        let member = &self.member;
        let mut attempts = Attempts::default();
        loop {
            let invalidations = member.begin(&mut attempts).await?;
            let mut commands = Vec::with_capacity(chunk.len());
            for &number in chunk {
                let names = member.names(keys[number]).await?;
                commands.push(command(number, names.entry(keys[number])));
            }
            let replies = member.send_all(self.connection, &commands, invalidations).await?;
            if let Some(replies) = replies {
                return Ok(replies.into_iter().map(|it| member.reply(it)).collect());
            }
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
