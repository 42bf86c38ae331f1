//! The operations: which commands each sends.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Backend, Capabilities, Create, Entry, Error, ErrorKind, Expiry, Lifetime, Namespace,
    PerRuntime, Result, Seen, SetMode, StoreId, SyncBackend, Ttl, payload_len,
};
use memcache::exp::MetaCommand;

use crate::{
    command, counter, lifetime,
    pool::{Common, Place, Pool},
    transport::Transport as _,
};

/// A pool of memcached servers.
pub(crate) struct Memcached {
    pub(crate) common: Arc<Common>,
    pools: PerRuntime<Pool>,
}

impl Memcached {
    pub(crate) fn new(common: Common) -> Self {
        Self { common: Arc::new(common), pools: PerRuntime::new() }
    }

    pub(crate) fn pool(&self) -> Result<Arc<Pool>> {
        self.pools.here(|_| Pool::new(Arc::clone(&self.common)))
    }

    pub(crate) async fn place(&self, key: &str) -> Result<Place> {
        self.pool()?.place(key).await
    }

    pub(crate) fn seconds(&self, expiry: Expiry) -> u64 {
        lifetime::seconds(expiry, &self.common.clock)
    }

    pub(crate) fn too_large(&self, value: &[u8]) -> Option<Error> {
        let (len, max) = (payload_len(value), self.common.plan.max_value_len);
        (len > max).then(|| {
            Error::new(
                ErrorKind::TooLarge,
                format!("the value has {len} bytes; at most {max} are allowed by options.max_value_bytes"),
            )
        })
    }

    /// What is too large leaves nothing behind, unless `mode` forbids the write.
    async fn refuse(&self, place: &Place, mode: SetMode, error: Error) -> Result<bool> {
        let is_live = ask(place, command::has(place.key())).await?;
        match (mode, is_live) {
            (SetMode::IfAbsent, true) | (SetMode::IfPresent, false) => Ok(false),
            (SetMode::IfAbsent, false) => Err(error),
            _ => ask(place, command::delete(place.key())).await.and(Err(error)),
        }
    }
}

/// Whether a command was done.
pub(crate) async fn ask(place: &Place, command: MetaCommand) -> Result<bool> {
    let answer = place.member.ask(command).await?;
    command::done(&answer, place.member.address())
}

/// The entry that is there. Its number may be that of a newer one, if it is a counter: see [`counter::entry`].
async fn entry(place: &Place) -> Result<Option<Entry>> {
    let answer = place.member.ask(command::get_entry(place.key())).await?;
    command::entry(answer, place.member.address())
}

/// The entry that is there, with the number that is its own.
pub(crate) async fn entry_to_compare(place: &Place) -> Result<Option<Entry>> {
    match entry(place).await? {
        Some(it) if counter::may_be(&it.value) => counter::entry(place).await,
        it => Ok(it),
    }
}

#[async_trait]
impl Backend for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn id(&self) -> StoreId {
        self.common.store_id()
    }

    fn capabilities(&self) -> Capabilities {
        let facts = Capabilities::new()
            .shared()
            .persistent()
            .connects()
            .granularity(Duration::from_secs(4))
            .max_value_len(self.common.plan.max_value_len);
        if self.common.servers.len() > 1 { facts.breaks_per_server() } else { facts }
    }

    fn sync_view(self: Arc<Self>) -> Option<Arc<dyn SyncBackend>> {
        None
    }

    fn leader_view(self: Arc<Self>) -> Option<Arc<dyn Backend>> {
        None
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let (member, key) = self.place(key).await?.split();
        command::value(member.ask(command::get(key)).await?, member.address())
    }

    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        entry(&self.place(key).await?).await
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.ask_many(keys, |_, key| command::get(key), |_| 0, command::value).await
    }

    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.ask_many(keys, |_, key| command::get_entry(key), |_| 0, command::entry).await
    }

    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let place = self.place(key).await?;
        if let Some(error) = self.too_large(&value) {
            // It is seldom, and its future is large.
            return Box::pin(self.refuse(&place, mode, error)).await;
        }
        let write = command::set(place.key(), value, self.seconds(expiry));
        let write = match mode {
            SetMode::Always => write,
            SetMode::IfAbsent => write.flag("ME"),
            SetMode::IfPresent => write.flag("MR"),
        };
        match ask(&place, write).await {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                Box::pin(self.refuse(&place, mode, error)).await
            }
            res => res,
        }
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        self.write_many(items, self.seconds(expiry)).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        let (member, key) = self.place(key).await?.split();
        command::done(&member.ask(command::has(key)).await?, member.address())
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let (member, key) = self.place(key).await?.split();
        command::remaining(&member.ask(command::ttl(key)).await?, member.address())
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let place = self.place(key).await?;
        let touch = command::touch(place.key(), self.seconds(expiry));
        let answers = place.member.ask_all(touch.into()).await?;
        answers.last().map_or(Ok(false), |it| command::done(it, place.member.address()))
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let (member, key) = self.place(key).await?.split();
        command::done(&member.ask(command::delete(key)).await?, member.address())
    }

    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        self.ask_many(keys, |_, key| command::delete(key), |_| 0, |it, at| command::done(&it, at))
            .await
    }

    /// There is no such command: read, and remove what was read.
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let place = self.place(key).await?;
        loop {
            let Some(entry) = entry_to_compare(&place).await? else { return Ok(None) };
            if ask(&place, command::if_still(command::delete(place.key()), entry.stamp)).await? {
                return Ok(Some(entry.value));
            }
        }
    }

    async fn incr(&self, key: &str, delta: i64, create: Option<Create>) -> Result<Option<i64>> {
        self.count(key, delta, create).await
    }

    async fn compare_and_delete(&self, key: &str, seen: Seen<'_>) -> Result<bool> {
        let place = self.place(key).await?;
        loop {
            let Some(entry) =
                entry_to_compare(&place).await?.filter(|it| seen.is(&it.value, it.stamp))
            else {
                return Ok(false);
            };
            if ask(&place, command::if_still(command::delete(place.key()), entry.stamp)).await? {
                return Ok(true);
            }
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        seen: Seen<'_>,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<bool> {
        if let Some(error) = self.too_large(&value) {
            return Err(error);
        }
        let place = self.place(key).await?;
        loop {
            let Some(entry) =
                entry_to_compare(&place).await?.filter(|it| seen.is(&it.value, it.stamp))
            else {
                return Ok(false);
            };
            let seconds = match lifetime {
                Lifetime::Keep => lifetime::rest(entry.ttl, &self.common.clock),
                Lifetime::New(expiry) => self.seconds(expiry),
            };
            let write = command::set(place.key(), value.as_ref(), seconds);
            if ask(&place, command::if_still(write, entry.stamp)).await? {
                return Ok(true);
            }
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.move_entry(from, to).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.renew_generations(namespace).await
    }

    async fn clear_store(&self) -> Result<()> {
        self.flush().await
    }

    async fn check(&self) -> Result<()> {
        self.check_all().await
    }

    async fn close(&self) -> Result<()> {
        self.pools.clear();
        Ok(())
    }
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memcached")
            .field("servers", &self.common.servers.len())
            .finish_non_exhaustive()
    }
}
