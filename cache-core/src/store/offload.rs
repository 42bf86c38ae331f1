use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::consume_budget;

use super::threads::Threads;
use super::{
    Backend, Capabilities, CounterInit, Entry, Expected, NowaitReads, SetMode, Stamp, StoreId,
    SyncBackend, TtlUpdate, WouldBlock,
};
use crate::{
    error::Result,
    key::Namespace,
    store::Views,
    timeout::{Expiry, Ttl},
};

/// A [`Backend`] that runs each call on threads of its own, for a store that blocks: files, SQLite.
///
/// Each call, including a batch, changes the thread once; reads may stay on the caller's thread, by
/// [`nowait_reads`](Self::nowait_reads) or [`direct_reads`](Self::direct_reads). No runtime is
/// needed. If a future is dropped while it waits for a thread, its call is never made.
#[derive(Debug)]
pub struct Offload<B> {
    store: Arc<B>,
    threads: Threads,
    readers: Option<Threads>,
    /// The store again, if it has reads that never block.
    nowait: Option<Arc<dyn NowaitReads>>,
    direct_reads: bool,
}

/// How many bytes a call copies on the caller's thread, which takes some 40 µs. A runtime must not
/// wait longer, and beside a longer copy the switch to another thread matters little.
const NOWAIT_BYTES: usize = 128 << 10;
/// The largest batch on the caller's thread, for the same reason.
const NOWAIT_KEYS: usize = 32;

impl<B: SyncBackend> Offload<B> {
    /// Wraps `store` and uses up to `threads` threads, which are started on demand.
    pub fn new(store: B, threads: usize) -> Self {
        let threads = Threads::new(store.name(), threads);
        let store = Arc::new(store);
        Self { threads, readers: None, nowait: None, store, direct_reads: false }
    }

    /// Gives reads up to `threads` threads of their own.
    ///
    /// Without them, reads share the threads of the writes and wait behind writes that wait for a
    /// lock.
    #[must_use]
    pub fn read_threads(mut self, threads: usize) -> Self {
        self.readers = Some(Threads::new(self.store.name(), threads));
        self
    }

    /// Sets whether reads run on the calling thread: changing the thread costs more than a read
    /// that finds its bytes in memory.
    ///
    /// A read that waits for the disk then blocks the runtime's thread.
    #[must_use]
    pub fn direct_reads(mut self, direct: bool) -> Self {
        self.direct_reads = direct;
        self
    }

    /// Makes each read on the calling thread if it does not block there. Otherwise, and for large
    /// batches and values, the read changes the thread.
    #[must_use]
    pub fn nowait_reads(mut self) -> Self
    where
        B: NowaitReads,
    {
        self.nowait = Some(Arc::clone(&self.store) as _);
        self
    }

    /// Makes a read on the calling thread unless it would block.
    async fn nowait<T>(
        &self,
        read: impl FnOnce(&dyn NowaitReads) -> Result<T, WouldBlock>,
    ) -> Result<T, WouldBlock> {
        let res = read(&**self.nowait.as_ref().ok_or(WouldBlock)?)?;
        // A task that reads in a loop must return to its runtime now and then.
        consume_budget().await;
        Ok(res)
    }

    /// Reads the first keys of a batch on the calling thread, up to one that would block.
    async fn nowait_many(&self, keys: &[&str]) -> Vec<Option<Entry>> {
        if keys.len() > NOWAIT_KEYS {
            return Vec::new();
        }
        let mut left = NOWAIT_BYTES;
        let read = |store: &dyn NowaitReads| {
            let entries = keys.iter().map_while(|key| {
                let entry = store.get_entry_nowait(key, left).ok()?;
                left = left.saturating_sub(entry.as_ref().map_or(0, |it| it.value.len()));
                Some(entry)
            });
            Ok(entries.collect())
        };
        self.nowait(read).await.unwrap_or_default()
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&B) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        self.threads.run(move || call(&store)).await?
    }

    async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&B) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        self.readers.as_ref().unwrap_or(&self.threads).run(move || call(&store)).await?
    }

    async fn read_many<T: Send + 'static>(
        &self,
        len: usize,
        call: impl FnOnce(&B) -> Vec<Result<T>> + Send + 'static,
    ) -> Vec<Result<T>> {
        let store = Arc::clone(&self.store);
        let threads = self.readers.as_ref().unwrap_or(&self.threads);
        let res = threads.run(move || call(&store)).await;
        res.unwrap_or_else(|err| (0..len).map(|_| Err(err.clone())).collect())
    }

    /// Returns the error for each key if the thread failed.
    async fn run_many<T: Send + 'static>(
        &self,
        len: usize,
        call: impl FnOnce(&B) -> Vec<Result<T>> + Send + 'static,
    ) -> Vec<Result<T>> {
        let store = Arc::clone(&self.store);
        let res = self.threads.run(move || call(&store)).await;
        res.unwrap_or_else(|err| (0..len).map(|_| Err(err.clone())).collect())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: SyncBackend> Backend for Offload<B> {
    fn name(&self) -> &'static str {
        self.store.name()
    }
    fn id(&self) -> StoreId {
        self.store.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
    fn views(self: Arc<Self>) -> Views {
        Views::none() // its calls block, and it has no copies
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        if self.direct_reads {
            return self.store.get(key);
        }
        if let Ok(found) = self.nowait(|it| it.get_entry_nowait(key, NOWAIT_BYTES)).await {
            return Ok(found.map(|it| it.value));
        }
        let key = key.to_owned();
        self.read(move |it| it.get(&key)).await
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        if self.direct_reads {
            return self.store.get_entry(key);
        }
        if let Ok(found) = self.nowait(|it| it.get_entry_nowait(key, NOWAIT_BYTES)).await {
            return Ok(found);
        }
        let key = key.to_owned();
        self.read(move |it| it.get_entry(&key)).await
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        if self.direct_reads {
            return self.store.get_many(keys);
        }
        let found = self.nowait_many(keys).await.into_iter();
        let mut res: Vec<_> = found.map(|it| Ok(it.map(|it| it.value))).collect();
        let rest = owned(&keys[res.len()..]);
        if !rest.is_empty() {
            res.extend(self.read_many(rest.len(), move |it| it.get_many(&borrowed(&rest))).await);
        }
        res
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        if self.direct_reads {
            return self.store.get_entries(keys);
        }
        let mut res: Vec<_> = self.nowait_many(keys).await.into_iter().map(Ok).collect();
        let rest = owned(&keys[res.len()..]);
        if !rest.is_empty() {
            let read = move |it: &B| it.get_entries(&borrowed(&rest));
            res.extend(self.read_many(keys.len() - res.len(), read).await);
        }
        res
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let key = key.to_owned();
        self.run(move |it| it.set(&key, value, expiry, mode)).await
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let items: Vec<_> = items.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        self.run_many(items.len(), move |it| {
            let items: Vec<_> = items.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
            it.set_many(&items, expiry)
        })
        .await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        if self.direct_reads {
            return self.store.has(key);
        }
        if let Ok(ttl) = self.nowait(|it| it.ttl_nowait(key)).await {
            return Ok(ttl.is_some());
        }
        let key = key.to_owned();
        self.read(move |it| it.has(&key)).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        if self.direct_reads {
            return self.store.ttl(key);
        }
        if let Ok(ttl) = self.nowait(|it| it.ttl_nowait(key)).await {
            return Ok(ttl);
        }
        let key = key.to_owned();
        self.read(move |it| it.ttl(&key)).await
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.run(move |it| it.touch(&key, expiry)).await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        let key = key.to_owned();
        self.run(move |it| it.delete(&key)).await
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let keys = owned(keys);
        self.run_many(keys.len(), move |it| it.delete_many(&borrowed(&keys))).await
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let key = key.to_owned();
        self.run(move |it| it.take(&key)).await
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let key = key.to_owned();
        self.run(move |it| it.incr(&key, delta, create)).await
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let (key, value, stamp) = (key.to_owned(), seen.value.to_vec(), seen.stamp);
        self.run(move |it| it.compare_and_delete(&key, seen_again(&value, stamp))).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let (key, old, stamp) = (key.to_owned(), seen.value.to_vec(), seen.stamp);
        self.run(move |it| it.compare_and_set(&key, seen_again(&old, stamp), value, lifetime)).await
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.run(move |it| it.rename(&from, &to)).await
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        let namespace = namespace.clone();
        self.run(move |it| it.clear(&namespace)).await
    }
    async fn clear_store(&self) -> Result<()> {
        self.run(SyncBackend::clear_store).await
    }
    async fn check(&self) -> Result<()> {
        self.run(SyncBackend::check).await
    }
    async fn close(&self) -> Result<()> {
        self.run(SyncBackend::close).await
    }
}

fn seen_again(value: &[u8], stamp: Option<Stamp>) -> Expected<'_> {
    Expected::new(value, stamp)
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&it| it.to_owned()).collect()
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

#[cfg(all(test, feature = "testing"))]
mod tests;
