//! The store in a SQLite file, or in memory.

mod call;
mod database;
mod error;
mod keeper;
mod lease;
#[cfg(unix)]
mod private;
mod queue;
mod schema;
mod sql;
mod writer;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Clock, Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, PerProcess,
        SetMode, Stamp, StoreId, SyncBackend, Threads, TtlUpdate,
    },
};

pub(crate) use self::schema::sql;
use self::{
    call::{Call, Found, Stored, all, too_large},
    database::Database,
    error::Failure,
    writer::{Work, Writer},
};
use crate::{options::SqlitePlan, time};

/// A table in a SQLite database. A child of `fork` has connections and threads of its own, or an error if the file was open.
#[derive(Debug)]
pub(crate) struct Sqlite {
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

/// How many entries of a batch are in one transaction: the writes of others come between.
const CHUNK: usize = 500;
/// And bytes, about.
const CHUNK_BYTES: usize = 4 << 20;
/// How many entries are looked at in one transaction when all are to be removed.
const STEP: u32 = 500;

impl Sqlite {
    /// The file is opened by the first call.
    pub(crate) fn new(path: Option<PathBuf>, plan: SqlitePlan, clock: Clock) -> Self {
        // `Cache` and `cache` are one table to SQLite.
        let table = plan.plan.table.name().to_ascii_lowercase();
        let id = path.as_ref().map(|it| StoreId::of_path("sqlite", it, [table]));
        Self { id: id.unwrap_or_default(), path, plan, clock, parts: PerProcess::new() }
    }

    /// Those of this process.
    fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| {
            let (path, plan, clock) = (self.path.clone(), self.plan.clone(), self.clock.clone());
            let readers = Threads::new("db-reader", plan.readers);
            let database = Arc::new(Database::new(path, plan, clock));
            Parts { writer: Writer::new(Arc::clone(&database)), database, readers }
        })
    }

    fn database(&self) -> &Arc<Database> {
        &self.parts().database
    }

    fn writer(&self) -> &Writer {
        &self.parts().writer
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Call<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let Parts { database, readers, .. } = self.parts();
        // In memory nothing is waited for; a file that is to be opened is.
        let is_direct = match &database.path {
            None => true,
            Some(_) => database.plan.direct_reads && database.ready().is_some(),
        };
        if is_direct {
            return database.read(ask);
        }
        let database = Arc::clone(database);
        readers.run(move || database.read(ask)).await?
    }

    async fn write<T: Send + 'static>(&self, work: impl Work<T>) -> Result<T> {
        self.writer().write(0, work).await
    }

    fn max_value_len(&self) -> usize {
        self.database().plan.plan.max_value_len
    }

    /// Reads many, of one moment.
    async fn read_many<T: Send + 'static>(
        &self,
        keys: &[&str],
        what: fn(Found, i64) -> Result<T>,
    ) -> Vec<Result<Option<T>>> {
        let keys: Vec<String> = keys.iter().map(|&it| it.to_owned()).collect();
        let len = keys.len();
        let res = self.read(move |call| {
            let found = call.at_once(|| call.get_many(&keys))?;
            let one = |it: Option<Found>| it.map(|it| what(it, call.now)).transpose();
            Ok(found.into_iter().map(one).collect::<Vec<_>>())
        });
        all(len, res.await)
    }
}

#[async_trait]
impl Backend for Sqlite {
    fn name(&self) -> &'static str {
        "db"
    }

    fn id(&self) -> StoreId {
        self.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let facts = Capabilities::new().max_value_len(self.max_value_len());
        if self.database().path.is_some() { facts.shared().persistent() } else { facts }
    }

    fn sync_view(self: Arc<Self>) -> Option<Arc<dyn SyncBackend>> {
        None
    }

    fn leader_view(self: Arc<Self>) -> Option<Arc<dyn Backend>> {
        None
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let key = key.to_owned();
        self.read(move |call| Ok(call.get(&key)?.map(|it| it.0.bytes()).transpose()?)).await
    }

    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        let key = key.to_owned();
        self.read(move |call| Ok(call.get(&key)?.map(|it| entry(it, call.now)).transpose()?)).await
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
        let res = match too_large(&value, self.max_value_len()) {
            Some(error) => self.write(move |it| it.refuse(&key, mode, error.clone())).await,
            None => self.writer().write(len, move |it| it.set(&key, &value, expiry, mode)).await,
        };
        if matches!(res, Ok(true)) {
            self.writer().weighed(1, len);
        }
        res
    }

    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let max = self.max_value_len();
        // One transaction is in the log as a whole.
        let most =
            CHUNK_BYTES.min(usize::try_from(self.database().log_limit()).unwrap_or(CHUNK_BYTES));
        let mut res = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let mut bytes = 0;
            let mut fits = |(_, value): &(&str, Bytes)| {
                bytes += value.len();
                bytes <= most
            };
            let count = rest.iter().take(CHUNK).take_while(|it| fits(it)).count().max(1);
            let (some, others) = rest.split_at(count);
            rest = others;
            let some: Vec<(String, Bytes)> =
                some.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            let written = self.writer().write(bytes, move |call| {
                let one = |(key, value): &(String, Bytes)| match too_large(value, max) {
                    Some(error) => call.delete(key).map(|_| Err(error)),
                    None => call.set(key, value, expiry, SetMode::Always).map(|_| Ok(())),
                };
                call.together(|| some.iter().map(one).collect())
            });
            res.extend(all(count, written.await));
            self.writer().weighed(count, bytes);
        }
        res
    }

    async fn has(&self, key: &str) -> Result<bool> {
        let key = key.to_owned();
        self.read(move |call| Ok(call.expires(&key)?.is_some())).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let key = key.to_owned();
        self.read(move |call| Ok(call.expires(&key)?.map(|it| time::ttl(it, call.now)))).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.write(move |call| call.touch(&key, expiry)).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let key = key.to_owned();
        self.write(move |call| call.delete(&key)).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let mut res = Vec::with_capacity(keys.len());
        for some in keys.chunks(CHUNK) {
            let count = some.len();
            let some: Vec<String> = some.iter().map(|&it| it.to_owned()).collect();
            let removed = self.write(move |call| {
                let one = |key: &String| call.delete(key).map(Ok);
                call.together(|| some.iter().map(one).collect())
            });
            res.extend(all(count, removed.await));
        }
        res
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let key = key.to_owned();
        // It is gone, whatever it was.
        let taken = self.write(move |call| call.take(&key)).await?;
        taken.map(Stored::bytes).transpose()
    }

    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let key = key.to_owned();
        self.write(move |call| call.incr(&key, delta, create)).await
    }

    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let (key, value, stamp) = (key.to_owned(), seen.value.to_vec(), seen.stamp);
        self.write(move |call| call.compare_and_delete(&key, Expected { value: &value, stamp }))
            .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        if let Some(error) = too_large(&value, self.max_value_len()) {
            return Err(error);
        }
        let (key, old, stamp) = (key.to_owned(), seen.value.to_vec(), seen.stamp);
        let len = value.len();
        let work = move |call: &Call<'_>| {
            call.compare_and_set(&key, Expected { value: &old, stamp }, &value, lifetime)
        };
        let res = self.writer().write(len, work).await;
        if matches!(res, Ok(true)) {
            self.writer().weighed(1, len);
        }
        res
    }

    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.write(move |call| call.rename(&from, &to)).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        let mut after = format!("{}:", namespace.prefix());
        loop {
            let namespace = namespace.clone();
            let work =
                move |call: &Call<'_>| call.together(|| call.clear(&namespace, &after, STEP));
            match self.writer().write_patiently(work).await? {
                None => return Ok(()),
                Some(last) => after = last,
            }
        }
    }

    async fn clear_store(&self) -> Result<()> {
        while self.writer().write_patiently(|call| call.clear_store(STEP)).await? {}
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        self.read(|call| call.counters().map(drop)).await?;
        self.writer().write_patiently(|call| call.try_to_write().map(drop)).await
    }

    async fn close(&self) -> Result<()> {
        let database = Arc::clone(self.database());
        self.parts().readers.run(move || database.close()).await?
    }
}

fn entry((value, expires): Found, now: i64) -> Result<Entry> {
    let stamp = Stamp(expires.and_then(|it| it.try_into().ok()).unwrap_or(0));
    Ok(Entry { value: value.bytes()?, ttl: time::ttl(expires, now), stamp })
}
