//! The operations of the store, and the commands that each operation sends.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, PerRuntime,
        SetMode, Stamp, StoreId, TtlUpdate, Views, payload_len,
    },
};

use crate::{
    added::RecentAdds,
    command::{self, Command, Mode},
    key::{Key, KeyNames},
    lifetime,
    moment::{Applied, Moment},
    outcome,
    pool::{Common, KeyLocation, Pool},
    snapshot,
    tries::Tries,
};

/// A store on one or several servers.
pub(crate) struct Memcached {
    pub(crate) common: Arc<Common>,
    pools: PerRuntime<Pool>,
}

impl Memcached {
    pub(crate) fn new(common: Common) -> Self {
        Self { common: Arc::new(common), pools: PerRuntime::new() }
    }

    pub(crate) fn pool(&self) -> Result<Arc<Pool>> {
        self.pools.here(|runtime| Pool::new(Arc::clone(&self.common), runtime))
    }

    pub(crate) fn locate<'k>(&self, key: &'k str) -> Result<KeyLocation<'k>> {
        self.pool()?.locate(key)
    }

    pub(crate) fn seconds(&self, expiry: Expiry) -> u64 {
        lifetime::seconds(expiry, &self.common.clock)
    }

    pub(crate) fn too_large(&self, value: &[u8]) -> Option<Error> {
        let (len, max) = (payload_len(value), self.common.plan.max_value_len);
        (len > max).then(|| Error::too_large(len, max as u64, "options.max_value_bytes"))
    }

    /// Handles a value that is too large: deletes the entry unless `mode` forbids the write, and
    /// returns the error.
    async fn refuse(
        &self,
        location: &KeyLocation<'_>,
        mode: SetMode,
        error: Error,
    ) -> Result<bool> {
        let is_live = location.is_done(command::has).await?;
        match (mode, is_live) {
            (SetMode::IfAbsent, true) | (SetMode::IfPresent, false) => Ok(false),
            (SetMode::IfAbsent, false) => Err(error),
            _ => location.is_done(command::delete).await.and(Err(error)),
        }
    }
}

/// Reads an entry. If it is a counter, its CAS number may belong to a newer value: see
/// [`snapshot::read`].
async fn entry(location: &KeyLocation<'_>) -> Result<Option<Entry>> {
    outcome::entry(location.send(command::get_entry).await?, location.address())
}

/// Adds a short value, and records it.
async fn add<'c>(
    location: &'c KeyLocation<'_>,
    value: &[u8],
    write: impl Fn(Key<'c>) -> Command<'c> + Send + Sync,
) -> Result<bool> {
    let write = |names: KeyNames| write(names.entry(location.key())).with_stamp();
    let (reply, moment) = location.send_named(write).await?;
    let is_added = outcome::done(&reply, location.address())?;
    // Zero means that the server has no CAS numbers.
    if let Some(stamp) = reply.stamp.filter(|it| is_added && *it > 0) {
        location.member.added.record(location.key(), value, Stamp(stamp), moment);
    }
    Ok(is_added)
}

/// Executes a command about an entry that this process has added, without a read. Returns false if
/// the entry is not known, or was written since, also with the same bytes.
async fn apply_to_added<'c>(
    location: &'c KeyLocation<'_>,
    seen: &Expected<'_>,
    command: impl FnOnce(Key<'c>) -> Command<'c>,
) -> Result<bool> {
    let Some((stamp, moment)) = location.member.added.take(location.key(), seen) else {
        return Ok(false);
    };
    // After a `clear`, the entry is another one.
    if location.member.names(location.key()).await? != moment.names {
        return Ok(false);
    }
    let applied = location.apply(&moment, |key| command(key).if_unchanged(stamp)).await?;
    Ok(applied == Applied::Done)
}

/// Deletes the entry if it still has this CAS number.
pub(crate) async fn delete_if_unchanged(
    location: &KeyLocation<'_>,
    moment: &Moment,
    stamp: Stamp,
) -> Result<Applied> {
    location.apply(moment, |key| command::delete(key).if_unchanged(stamp)).await
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

    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let location = self.locate(key)?;
        outcome::value(location.send(command::get).await?, location.address())
    }

    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        entry(&self.locate(key)?).await
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.execute_many(keys, |_, key| command::get(key), |_| 0, outcome::value).await
    }

    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.execute_many(keys, |_, key| command::get_entry(key), |_| 0, outcome::entry).await
    }

    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let location = self.locate(key)?;
        if let Some(error) = self.too_large(&value) {
            // Boxed, because it is rare and its future is large.
            return Box::pin(self.refuse(&location, mode, error)).await;
        }
        let seconds = self.seconds(expiry);
        let write_mode = match mode {
            SetMode::Always => Mode::Always,
            SetMode::IfAbsent => Mode::IfAbsent,
            SetMode::IfPresent => Mode::IfPresent,
        };
        let write = |key| command::set(key, &value, write_mode, seconds);
        let written = match mode {
            SetMode::IfAbsent if RecentAdds::fits(&value) => add(&location, &value, write).await,
            _ => location.is_done(write).await,
        };
        match written {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                Box::pin(self.refuse(&location, mode, error)).await
            }
            res => res,
        }
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        self.write_many(items, self.seconds(expiry)).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.locate(key)?.is_done(command::has).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let location = self.locate(key)?;
        outcome::remaining(&location.send(command::ttl).await?, location.address())
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let location = self.locate(key)?;
        let seconds = self.seconds(expiry);
        let ([_, touched], _) = location.send_all(|key| command::touch(key, seconds)).await?;
        outcome::done(&touched, location.address())
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.locate(key)?.is_done(command::delete).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        self.execute_many(
            keys,
            |_, key| command::delete(key),
            |_| 0,
            |it, at| outcome::done(&it, at),
        )
        .await
    }

    /// memcached has no such command: the entry is read, and deleted if it is unchanged.
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let location = self.locate(key)?;
        let mut tries = Tries::new(&self.common);
        loop {
            let Some((entry, moment)) = snapshot::read_value(&self.common, &location).await? else {
                return Ok(None);
            };
            let deleted = delete_if_unchanged(&location, &moment, entry.stamp).await?;
            if tries.is_over(deleted).await? {
                return Ok(Some(entry.value));
            }
        }
    }

    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        self.count(key, delta, create).await
    }

    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let location = self.locate(key)?;
        if apply_to_added(&location, &seen, command::delete).await? {
            return Ok(true);
        }
        let mut tries = Tries::new(&self.common);
        loop {
            let found = snapshot::read_value(&self.common, &location).await?;
            let found = found.filter(|(it, _)| seen.is(&it.value, it.stamp));
            let Some((entry, moment)) = found else { return Ok(false) };
            let deleted = delete_if_unchanged(&location, &moment, entry.stamp).await?;
            if tries.is_over(deleted).await? {
                return Ok(true);
            }
        }
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
        let location = self.locate(key)?;
        if let TtlUpdate::New(expiry) = lifetime {
            let seconds = self.seconds(expiry);
            let write = |key| command::set(key, &value, Mode::Always, seconds);
            if apply_to_added(&location, &seen, write).await? {
                return Ok(true);
            }
        }
        let mut tries = Tries::new(&self.common);
        loop {
            let found = match lifetime {
                TtlUpdate::Keep => {
                    let found = snapshot::read_with_end(&self.common, &location).await?;
                    found.map(|(it, end)| (it.entry, end, it.moment))
                }
                TtlUpdate::New(expiry) => {
                    let found = snapshot::read_value(&self.common, &location).await?;
                    found.map(|(it, moment)| (it, self.seconds(expiry), moment))
                }
            };
            let found = found.filter(|(it, ..)| seen.is(&it.value, it.stamp));
            let Some((entry, end, moment)) = found else { return Ok(false) };
            let write =
                |key| command::set(key, &value, Mode::Always, end).if_unchanged(entry.stamp);
            let written = location.apply(&moment, write).await?;
            if tries.is_over(written).await? {
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
