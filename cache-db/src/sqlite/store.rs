//! The operations: what is a read, what is a write, and in which pieces.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Clock, Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, PerProcess,
        SetMode, Stamp, StoreId, Threads, TtlUpdate, Views,
    },
};

use super::{
    database::Database,
    entry::value_too_large,
    error::Failure,
    session::Session,
    value::{Found, Stored},
    writer::{Work, Writer},
};
use crate::{options::SqlitePlan, time};

/// A table in a SQLite database. A child of `fork` gets connections and threads of its own, or an
/// error if the file was open.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    id: StoreId,
    path: Option<PathBuf>,
    plan: SqlitePlan,
    clock: Clock,
    parts: PerProcess<Parts>,
}

#[derive(Debug)]
struct Parts {
    database: Arc<Database>,
    writer: Writer,
    readers: Threads,
}

impl SqliteStore {
    /// Opens nothing: the first call does.
    pub(crate) fn new(path: Option<PathBuf>, plan: SqlitePlan, clock: Clock) -> Self {
        // SQLite ignores the case of table names.
        let table = plan.plan.table.name().to_ascii_lowercase();
        let id = path.as_ref().map(|it| StoreId::of_path("sqlite", it, [table]));
        Self { id: id.unwrap_or_default(), path, plan, clock, parts: PerProcess::new() }
    }

    /// Returns the parts of this process.
    fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| {
            let (path, plan, clock) = (self.path.clone(), self.plan.clone(), self.clock.clone());
            let readers = Threads::new("db-reader", plan.readers);
            let database = Arc::new(Database::new(path, plan, clock));
            Parts { writer: Writer::new(Arc::clone(&database)), database, readers }
        })
    }

    pub(super) fn database(&self) -> &Arc<Database> {
        &self.parts().database
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.parts().writer
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Session<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let Parts { database, readers, .. } = self.parts();
        // A database in memory never blocks. Opening a file does.
        let is_direct = match &database.path {
            None => true,
            Some(_) => database.plan.direct_reads && database.ready().is_some(),
        };
        if is_direct {
            return database.read(operation);
        }
        let database = Arc::clone(database);
        readers.run(move || database.read(operation)).await?
    }

    pub(super) async fn write<T: Send + 'static>(&self, work: impl Work<T>) -> Result<T> {
        self.writer().write(0, work).await
    }

    pub(super) fn max_value_len(&self) -> usize {
        self.database().plan.plan.max_value_len
    }
}

#[async_trait]
impl Backend for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn id(&self) -> StoreId {
        self.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let facts = Capabilities::new().max_value_len(self.max_value_len());
        if self.database().path.is_some() { facts.shared().persistent() } else { facts }
    }

    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let key = key.to_owned();
        self.read(move |session| Ok(session.get(&key)?.map(|it| it.0.bytes()).transpose()?)).await
    }

    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        let key = key.to_owned();
        self.read(move |session| {
            Ok(session.get(&key)?.map(|it| entry(it, session.now)).transpose()?)
        })
        .await
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.read_many(keys, |found, _| found.0.bytes()).await
    }

    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.read_many(keys, entry).await
    }

    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let key = key.to_owned();
        let len = value.len();
        let res = match value_too_large(&value, self.max_value_len()) {
            Some(error) => self.write(move |it| it.refuse(&key, mode, error.clone())).await,
            None => self.writer().write(len, move |it| it.set(&key, &value, expiry, mode)).await,
        };
        if matches!(res, Ok(true)) {
            self.writer().count_written(1, len);
        }
        res
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        self.write_many(items, expiry).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        let key = key.to_owned();
        self.read(move |session| Ok(session.expires(&key)?.is_some())).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let key = key.to_owned();
        self.read(move |session| Ok(session.expires(&key)?.map(|it| time::ttl(it, session.now))))
            .await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.write(move |session| session.touch(&key, expiry)).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let key = key.to_owned();
        self.write(move |session| session.delete(&key)).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        self.remove_many(keys).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let key = key.to_owned();
        // The entry was removed, even if its value is foreign.
        let taken = self.write(move |session| session.take(&key)).await?;
        taken.map(Stored::bytes).transpose()
    }

    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let key = key.to_owned();
        self.write(move |session| session.incr(&key, delta, create)).await
    }

    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let (key, value, stamp) = (key.to_owned(), seen.value.to_vec(), seen.stamp);
        self.write(move |session| session.compare_and_delete(&key, Expected::new(&value, stamp)))
            .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        if let Some(error) = value_too_large(&value, self.max_value_len()) {
            return Err(error);
        }
        let (key, old, stamp) = (key.to_owned(), seen.value.to_vec(), seen.stamp);
        let len = value.len();
        let work = move |session: &Session<'_>| {
            session.compare_and_set(&key, Expected::new(&old, stamp), &value, lifetime)
        };
        let res = self.writer().write(len, work).await;
        if matches!(res, Ok(true)) {
            self.writer().count_written(1, len);
        }
        res
    }

    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.write(move |session| session.rename(&from, &to)).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.clear_namespace(namespace).await
    }

    async fn clear_store(&self) -> Result<()> {
        self.clear_table().await
    }

    async fn check(&self) -> Result<()> {
        self.read(|session| session.counters().map(drop)).await?;
        self.writer().write_without_deadline(|session| session.try_to_write().map(drop)).await
    }

    async fn close(&self) -> Result<()> {
        let database = Arc::clone(self.database());
        self.parts().readers.run(move || database.close()).await?
    }
}

fn entry((value, expires): Found, now: i64) -> Result<Entry> {
    let stamp = Stamp(expires.and_then(|it| it.try_into().ok()).unwrap_or(0));
    Ok(Entry::new(value.bytes()?, time::ttl(expires, now), stamp))
}
