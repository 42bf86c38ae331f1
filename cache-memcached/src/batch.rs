//! Many keys at once: one pipeline for each server, in pieces; a key is answered or failed on its own.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cache_core::{ErrorKind, Result};
use futures_util::future::join_all;
use memcache::exp::MetaCommand;

use crate::{
    address::Address,
    answer::Answer,
    command, error,
    pool::Pool,
    server::{Caller, Doubted, Member},
    store::Memcached,
};

/// The most keys in one pipeline. More questions than fit the buffers of the connection, and server and client wait for each
/// other to read.
const KEYS: usize = 250;
/// The most bytes, about.
const BYTES: usize = 1 << 20;

impl Memcached {
    /// Asks about many keys; an answer for each, in order.
    pub(crate) async fn ask_many<T: Send>(
        &self,
        keys: &[&str],
        command: impl Fn(usize, String) -> MetaCommand + Send + Sync,
        weight: impl Fn(usize) -> usize + Send + Sync,
        read: fn(Answer, &Address) -> Result<T>,
    ) -> Vec<Result<T>> {
        let mut res: Vec<Option<Result<T>>> = keys.iter().map(|_| None).collect();
        let pool = match self.pool() {
            Ok(pool) => pool,
            Err(error) => return keys.iter().map(|_| Err(error.clone())).collect(),
        };
        let groups = groups(&pool, keys, &mut res);
        let answers =
            groups.iter().map(|(member, group)| ask_group(member, group, keys, &command, &weight));
        for ((member, group), answers) in groups.iter().zip(join_all(answers).await) {
            for (&number, answer) in group.iter().zip(answers) {
                res[number] = Some(answer.and_then(|it| read(it, member.address())));
            }
        }
        let missing = || Err(error::unanswered());
        res.into_iter().map(|it| it.unwrap_or_else(missing)).collect()
    }

    /// Writes many. A value that a server refuses fails alone, and leaves nothing behind.
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
        let weight = |i: usize| items[i].1.len();
        let written = self.ask_many(&keys, command, weight, |it, at| command::done(&it, at)).await;
        let mut res = Vec::with_capacity(items.len());
        for ((written, too_large), (key, value)) in written.into_iter().zip(too_large).zip(items) {
            res.push(match (written, too_large) {
                (Ok(true), None) => Ok(()),
                (Ok(false), None) => Err(error::unanswered()),
                // The server refused one of those that were sent together, and the others' answers were not waited for.
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
        let place = self.place(key)?;
        let written = place.ask(|key| command::set(key, value.as_ref(), seconds)).await;
        match written {
            Ok(answer) if command::done(&answer, place.address())? => Ok(()),
            Ok(_) => Err(error::surprise(place.address())),
            Err(error) => {
                if error.kind() == ErrorKind::TooLarge {
                    place.ask(command::delete).await?;
                }
                Err(error)
            }
        }
    }
}

/// The keys of each server, by their numbers.
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

/// One piece after the other.
async fn ask_group(
    member: &Arc<Member>,
    group: &[usize],
    keys: &[&str],
    command: &(impl Fn(usize, String) -> MetaCommand + Send + Sync),
    weight: &(impl Fn(usize) -> usize + Send + Sync),
) -> Vec<Result<Answer>> {
    let mut res = Vec::with_capacity(group.len());
    for piece in pieces(group, weight) {
        match ask_piece(member, piece, keys, command).await {
            Ok(answers) => res.extend(answers.into_iter().map(Ok)),
            Err(error) => res.extend(piece.iter().map(|_| Err(error.clone()))),
        }
    }
    res
}

async fn ask_piece(
    member: &Arc<Member>,
    piece: &[usize],
    keys: &[&str],
    command: &(impl Fn(usize, String) -> MetaCommand + Send + Sync),
) -> Result<Vec<Answer>> {
    let mut tries = Doubted::default();
    loop {
        let doubts = member.doubts(&mut tries).await?;
        let mut commands = Vec::with_capacity(piece.len());
        for &number in piece {
            let names = member.names(keys[number]).await?;
            commands.push(command(number, names.entry(keys[number])));
        }
        if let Some(answers) = member.exchange(Caller::Future, commands, Some(doubts)).await? {
            return Ok(answers);
        }
    }
}

/// Numbers of keys in runs that are not too much for one pipeline.
fn pieces<'a>(group: &'a [usize], weight: &impl Fn(usize) -> usize) -> Vec<&'a [usize]> {
    let mut res = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, &number) in group.iter().enumerate() {
        let weight = weight(number);
        if i > begin && (i - begin >= KEYS || bytes + weight > BYTES) {
            res.push(&group[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += weight;
    }
    res.push(&group[begin..]);
    res
}
