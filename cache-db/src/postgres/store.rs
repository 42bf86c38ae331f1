//! The operations, and which statement each sends.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Error, Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, PerRuntime,
        SetMode, Stamp, StoreId, TtlUpdate, Views, payload_len,
    },
};

use super::{
    bus::ServerBus,
    connection::Reply,
    invalidations::Changes,
    param::Param,
    pool::{Pool, Shared},
    row::{bytes, column, entry, first, ttl},
    slot::Slot,
    statements::Statement,
};

/// A table in PostgreSQL.
pub(crate) struct PostgresStore {
    shared: Arc<Shared>,
    pools: PerRuntime<Pool>,
    /// The connections of its bus.
    publishers: Arc<PerRuntime<Slot>>,
}

impl PostgresStore {
    pub(crate) fn new(shared: Shared) -> Self {
        let (pools, publishers) = (PerRuntime::new(), Arc::default());
        Self { shared: Arc::new(shared), pools, publishers }
    }

    pub(crate) fn pool(&self) -> Result<Arc<Pool>> {
        self.pools.here(|runtime| Pool::new(Arc::clone(&self.shared), runtime))
    }

    async fn execute(&self, statement: Statement, key: &str, params: Vec<Param>) -> Result<Reply> {
        self.pool()?.execute(key, statement, params).await
    }

    /// Runs a statement that writes one entry. Returns whether it did.
    async fn write(
        &self,
        statement: Statement,
        key: &str,
        len: usize,
        params: Vec<Param>,
    ) -> Result<bool> {
        let pool = self.pool()?;
        let is_written = pool.execute(key, statement, params).await?.count > 0;
        if is_written {
            pool.writes.add(1, entry_size(key, len));
        }
        Ok(is_written)
    }

    pub(crate) fn too_large(&self, value: &[u8]) -> Option<Error> {
        let (len, max) = (payload_len(value), self.shared.plan().max_value_len);
        let error = || Error::too_large(len, max as u64, "options.max_value_bytes");
        (len > max).then(error)
    }

    /// Refuses a value that is too large. Removes the old entry, unless `mode` forbids the write.
    async fn refuse(&self, key: &str, mode: SetMode, error: Error) -> Result<bool> {
        let is_forbidden = match mode {
            SetMode::Always => self.delete(key).await.map(|_| false)?,
            SetMode::IfAbsent => self.has(key).await?,
            SetMode::IfPresent => !self.delete(key).await?,
        };
        if is_forbidden { Ok(false) } else { Err(error) }
    }
}

/// Returns the size of an entry, by the same formula as the table.
pub(crate) fn entry_size(key: &str, len: usize) -> usize {
    2 * key.len() + len + 100
}

/// Converts a lifetime to microseconds, rounded up. Beyond the range means never.
pub(crate) fn micros(expiry: Expiry) -> Option<i64> {
    /// The server adds the current time to it.
    const LONGEST: i64 = i64::MAX / 4;
    let Expiry::After(time) = expiry else { return None };
    let micros = time.as_nanos().div_ceil(1000);
    i64::try_from(micros).ok().filter(|it| *it <= LONGEST)
}

#[async_trait]
impl Backend for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn id(&self) -> StoreId {
        self.shared.connector.store_id()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .shared()
            .persistent()
            .connects()
            .granularity(Duration::from_millis(1))
            .max_value_len(self.shared.plan().max_value_len)
    }

    fn views(self: Arc<Self>) -> Views {
        let connector = &self.shared.connector;
        let bus = ServerBus::new(connector, Arc::clone(&self.publishers));
        let views = Views::none().with_bus(Arc::new(bus));
        if connector.leads_to_one_server() {
            views.with_invalidations(Arc::new(Changes(Arc::clone(connector))))
        } else {
            views
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        first(&self.execute(Statement::Get, key, vec![Param::key(key)]).await?, |row| bytes(row, 0))
    }

    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        let answer = self.execute(Statement::GetEntry, key, vec![Param::key(key)]).await?;
        first(&answer, entry).map(Option::flatten)
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.read_many(keys, Statement::GetMany, (0, 1), |row| bytes(row, 1).map(Some)).await
    }

    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.read_many(keys, Statement::GetEntries, (3, 0), entry).await
    }

    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        if let Some(error) = self.too_large(&value) {
            return Box::pin(self.refuse(key, mode, error)).await;
        }
        let statement = match mode {
            SetMode::Always => Statement::Set,
            SetMode::IfAbsent => Statement::Add,
            SetMode::IfPresent => Statement::Replace,
        };
        let len = value.len();
        let params = vec![Param::key(key), value.into(), micros(expiry).into()];
        self.write(statement, key, len, params).await
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        self.write_many(items, expiry).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        Ok(!self.execute(Statement::Has, key, vec![Param::key(key)]).await?.rows.is_empty())
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let answer = self.execute(Statement::Ttl, key, vec![Param::key(key)]).await?;
        let ttl = first(&answer, |row| Ok(ttl(column(row, 0)?, column(row, 1)?)));
        ttl.map(Option::flatten)
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let params = vec![Param::key(key), micros(expiry).into()];
        Ok(self.execute(Statement::Touch, key, params).await?.count > 0)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let answer = self.execute(Statement::Delete, key, vec![Param::key(key)]).await?;
        Ok(first(&answer, |row| column(row, 0))?.unwrap_or(false))
    }

    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        self.remove_many(keys).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let answer = self.execute(Statement::Take, key, vec![Param::key(key)]).await?;
        let taken = first(&answer, |row| {
            column::<Option<&[u8]>>(row, 0).map(|it| it.map(Bytes::copy_from_slice))
        });
        taken.map(Option::flatten)
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
        let params = vec![Param::key(key), seen.value.into(), stamp(seen).into()];
        Ok(self.execute(Statement::CompareAndDelete, key, params).await?.count > 0)
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
        let (keeps, micros) = match lifetime {
            TtlUpdate::Keep => (true, None),
            TtlUpdate::New(expiry) => (false, micros(expiry)),
        };
        let len = value.len();
        let seen = [Param::key(key), seen.value.into(), stamp(seen).into()];
        let new = [value.into(), keeps.into(), micros.into()];
        self.write(Statement::CompareAndSet, key, len, seen.into_iter().chain(new).collect()).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let params = vec![Param::key(from), Param::key(to)];
        let pool = self.pool()?;
        let both = pool.keys([from, to]);
        Ok(pool.execute_many(both, Statement::Rename, params).await?.count > 0)
    }

    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.clear_namespace(namespace).await
    }

    async fn clear_store(&self) -> Result<()> {
        self.clear_table().await
    }

    async fn check(&self) -> Result<()> {
        self.pool()?.check().await
    }

    async fn close(&self) -> Result<()> {
        self.pools.clear();
        self.publishers.clear();
        Ok(())
    }
}

fn stamp(seen: Expected<'_>) -> Option<i64> {
    seen.stamp.map(|Stamp(it)| i64::try_from(it).unwrap_or(i64::MAX))
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("table", &self.shared.plan().table)
            .field("runtimes", &self.pools)
            .finish_non_exhaustive()
    }
}
