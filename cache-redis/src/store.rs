//! The operations of the store, and the commands that each operation sends.

mod commands;
mod compare;
mod counter;
mod messages;
mod rename;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, PerRuntime,
        SetMode, StoreId, TtlUpdate, Views, payload_len,
    },
};
use futures_util::future::BoxFuture;

use self::{
    commands::{ENTRY_COMMANDS, encode_entry, encode_set, millis},
    compare::{Compare, was_as_expected},
    counter::CounterChange,
};
use crate::{
    batch::{Batch, Together},
    encoder::{Change, Commands, Encode, Encoder},
    error::{self, needs_memory},
    limit::Limit,
    options::ReadFrom,
    pool::{Common, Pool},
    reply,
    resp::Reply,
    route::ReadTarget,
    script::{self, ScriptCall},
    slot,
};

/// A store on one or several servers.
#[derive(Clone)]
pub(crate) struct Redis {
    common: Arc<Common>,
    pools: Arc<PerRuntime<Pool>>,
    capabilities: Capabilities,
    /// The servers that may answer plain reads.
    target: ReadTarget,
}

impl Redis {
    pub(crate) fn new(common: Common, capabilities: Capabilities) -> Self {
        let (common, pools) = (Arc::new(common), Arc::default());
        Self { common, pools, capabilities, target: ReadTarget::Any }
    }

    /// Returns the connections of the caller's runtime.
    fn pool(&self) -> Result<Arc<Pool>> {
        Pool::here(&self.common, &self.pools)
    }

    async fn execute(&self, key: &str, target: ReadTarget, encode: Encode<'_>) -> Result<Reply> {
        self.pool()?.execute(key, target, &Commands::one(encode)).await
    }

    async fn write(&self, key: &str, encode: Encode<'_>) -> Result<Reply> {
        let write = Commands::one(encode).changing(&Change::Key);
        self.pool()?.execute(key, ReadTarget::Leader, &write).await
    }

    async fn run_script(
        &self,
        script: &script::Script,
        keys: &[&str],
        change: &Change<'_>,
    ) -> Result<Reply> {
        self.pool()?.run_script(&ScriptCall::new(script, keys, &[]).changing(change)).await
    }

    /// Reads an entry from a server whose `maxmemory` is reached. Boxed, because the future would
    /// enlarge that of each read.
    #[cold]
    fn entry_without_memory<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        Box::pin(async move {
            reply::entry(self.run_script(&script::ENTRY, &[key], &Change::None).await?)
        })
    }

    /// Executes commands about many keys, and converts each reply.
    async fn execute_many<T>(
        &self,
        batch: Batch<'_>,
        read: fn(Reply) -> Result<T>,
    ) -> Vec<Result<T>> {
        match self.pool() {
            Ok(pool) => {
                pool.execute_many(&batch).await.into_iter().map(|it| it.and_then(read)).collect()
            }
            Err(error) => batch.keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn too_large(&self, value: &Bytes) -> Option<Error> {
        self.limit().check(payload_len(value), value.len()).err()
    }

    fn limit(&self) -> &Limit {
        &self.common.limit
    }

    /// Handles a value that is too large: deletes the entry unless `mode` forbids the write, and
    /// returns the error.
    async fn refuse(&self, key: &str, mode: SetMode, error: Error) -> Result<bool> {
        let is_live = match mode {
            SetMode::Always => None,
            SetMode::IfAbsent | SetMode::IfPresent => Some(self.has_at_leader(key).await?),
        };
        match (mode, is_live) {
            (SetMode::IfAbsent, Some(true)) | (SetMode::IfPresent, Some(false)) => Ok(false),
            (SetMode::IfAbsent, _) => Err(error),
            _ => self.delete(key).await.and(Err(error)),
        }
    }

    async fn has_at_leader(&self, key: &str) -> Result<bool> {
        reply::flag(
            &self.execute(key, ReadTarget::Leader, &|out| out.command(&["EXISTS", key])).await?,
        )
    }
}

#[async_trait]
impl Backend for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn id(&self) -> StoreId {
        let common = &self.common;
        common.discovery.store_id(common.nodes.connector.login.database)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn views(self: Arc<Self>) -> Views {
        let views = self.messages();
        let may_lag = self.target == ReadTarget::Any && self.common.read_from == ReadFrom::Replica;
        if may_lag {
            let leader = Self { target: ReadTarget::Leader, ..Self::clone(&self) };
            return views.with_leader(Arc::new(leader));
        }
        views
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        reply::bytes(self.execute(key, self.target, &|out| out.command(&["GET", key])).await?)
    }

    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        let read = |out: &mut Encoder<'_>| encode_entry(out, key);
        let read = Commands::transaction(ENTRY_COMMANDS, &read);
        let answer = self.pool()?.execute(key, self.target, &read).await;
        let answer = answer.and_then(reply::entry);
        if needs_memory(&answer) { self.entry_without_memory(key).await } else { answer }
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let batch = Batch {
            keys,
            encode: &|i, out| out.command(&["GET", keys[i]]),
            replies: 1,
            size: &|_| 0,
            target: self.target,
            change: Change::None,
            together: Together::Get,
        };
        self.execute_many(batch, reply::bytes).await
    }

    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let batch = Batch {
            keys,
            encode: &|i, out| encode_entry(out, keys[i]),
            replies: 2 + ENTRY_COMMANDS,
            size: &|_| 0,
            target: self.target,
            change: Change::None,
            together: Together::None,
        };
        let mut answers = self.execute_many(batch, reply::entry).await;
        for (answer, key) in answers.iter_mut().zip(keys) {
            if needs_memory(answer) {
                *answer = self.entry_without_memory(key).await;
            }
        }
        answers
    }

    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        if let Some(error) = self.too_large(&value) {
            return Box::pin(self.refuse(key, mode, error)).await;
        }
        let write = |out: &mut Encoder<'_>| encode_set(out, key, &value, expiry, mode);
        let write = Commands::one(&write).of_size(value.len()).changing(&Change::Key);
        let answer = self.pool()?.execute(key, ReadTarget::Leader, &write).await;
        self.limit().record_reply(value.len(), &answer);
        match answer {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                Box::pin(self.refuse(key, mode, error)).await
            }
            answer => reply::done(&answer?),
        }
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let keys: Vec<&str> = items.iter().map(|(key, _)| *key).collect();
        // Checked once, because the known limit of the server may change meanwhile.
        let refused: Vec<_> = items.iter().map(|(_, value)| self.too_large(value)).collect();
        let encode = |i: usize, out: &mut Encoder<'_>| {
            let (key, value) = &items[i];
            match &refused[i] {
                None => encode_set(out, key, value, expiry, SetMode::Always),
                Some(_) => out.command(&["UNLINK", key]),
            }
        };
        let size = |i: usize| items[i].1.len();
        let value = |i: usize, out: &mut Encoder<'_>| {
            out.arg(&items[i].1);
        };
        let together = Together::Set { value: &value, millis: millis(expiry) };
        let batch = Batch {
            keys: &keys,
            encode: &encode,
            replies: 1,
            size: &size,
            target: ReadTarget::Leader,
            change: Change::Key,
            together: if refused.iter().any(Option::is_some) { Together::None } else { together },
        };
        let answers = self.execute_many(batch, Ok).await;
        let mut res = Vec::with_capacity(items.len());
        for (answer, ((key, value), refused)) in answers.into_iter().zip(items.iter().zip(refused))
        {
            res.push(match (answer, refused) {
                (answer, Some(error)) => answer.and(Err(error)),
                (answer, None) => {
                    self.limit().record_reply(value.len(), &answer);
                    match answer {
                        Err(error) if error.kind() == ErrorKind::TooLarge => {
                            self.refuse(key, SetMode::Always, error).await.map(drop)
                        }
                        answer => answer.and_then(|it| reply::done(&it)).map(drop),
                    }
                }
            });
        }
        res
    }

    async fn has(&self, key: &str) -> Result<bool> {
        reply::flag(&self.execute(key, self.target, &|out| out.command(&["EXISTS", key])).await?)
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        reply::ttl(&self.execute(key, self.target, &|out| out.command(&["PTTL", key])).await?)
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let Some(millis) = millis(expiry) else {
            let answer = Box::pin(self.run_script(&script::PERSIST, &[key], &Change::Key)).await?;
            return reply::flag(&answer);
        };
        let expire = |out: &mut Encoder<'_>| {
            out.begin(3).arg("PEXPIRE").arg(key).number(millis);
        };
        reply::flag(&self.write(key, &expire).await?)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        reply::flag(&self.write(key, &|out| out.command(&["UNLINK", key])).await?)
    }

    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let batch = Batch {
            keys,
            encode: &|i, out| out.command(&["UNLINK", keys[i]]),
            replies: 1,
            size: &|_| 0,
            target: ReadTarget::Leader,
            change: Change::Key,
            together: Together::None,
        };
        self.execute_many(batch, |it| reply::flag(&it)).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        reply::bytes(self.write(key, &|out| out.command(&["GETDEL", key])).await?)
    }

    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let (keys, args) = ([key], CounterChange::new(delta, create));
        // Not through `run_script`, whose future would have copies of the arguments.
        let call = ScriptCall::new(&script::INCR, &keys, &args);
        let answer = self.pool()?.run_script(&call).await;
        match answer {
            Ok(Reply::Int(count)) => Ok(Some(count)),
            Ok(answer) => {
                let count = |text: String| text.parse().map_err(|_| error::unexpected(&Reply::Nil));
                reply::text(answer)?.map(count).transpose()
            }
            // A value that is not a string is not an integer either.
            Err(error) if error.kind() == ErrorKind::WrongType => {
                Err(Error::new(ErrorKind::NotAnInteger, "the value is not a string"))
            }
            Err(error) => Err(error),
        }
    }

    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let compare = Compare::and_delete(key, seen);
        let command = |out: &mut Encoder<'_>| compare.command(out);
        was_as_expected(self.pool()?.run_script(&compare.call(&command)).await)
    }

    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        if let Some(error) = self.too_large(&value) {
            return Err(error);
        }
        let compare = Compare::and_set(key, seen, &value, lifetime);
        let command = |out: &mut Encoder<'_>| compare.command(out);
        let call = compare.call(&command);
        // Boxed: with the arguments, one future would not fit in the cache of malloc.
        let answer = was_as_expected(Box::pin(self.pool()?.run_script(&call)).await);
        self.limit().record_reply(value.len(), &answer);
        answer
    }

    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        if self.common.is_cluster() && slot::slot(from) != slot::slot(to) {
            return self.move_between_servers(from, to).await;
        }
        let keys = [from, to];
        reply::flag(&self.run_script(&script::RENAME, &keys, &Change::Keys(&keys)).await?)
    }

    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.pool()?.clear(namespace).await
    }

    async fn clear_store(&self) -> Result<()> {
        self.pool()?.flush().await
    }

    async fn check(&self) -> Result<()> {
        self.pool()?.check().await
    }

    async fn close(&self) -> Result<()> {
        // Calls in progress finish.
        self.pools.clear();
        Ok(())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let common = &self.common;
        f.debug_struct("Redis")
            .field("servers", &common.discovery)
            .field("reads_replicas", &(common.read_from == ReadFrom::Replica))
            .finish_non_exhaustive()
    }
}
