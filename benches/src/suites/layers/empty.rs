use std::{future::poll_fn, sync::Arc, task::Poll};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Dummy, Entry, Expected, Expiry, Namespace, SetMode,
        StoreId, SyncBackend, TtlUpdate, Views,
    },
};

/// An asynchronous store without a server: every `get` returns one value, every `set` succeeds.
#[derive(Debug)]
pub(super) struct Empty {
    value: Bytes,
    /// Whether calls return `Pending` once, like those that wait for a server.
    waits: bool,
}

impl Empty {
    pub(super) fn new(value: Bytes, waits: bool) -> Self {
        Self { value, waits }
    }

    async fn wait(&self) {
        let mut waits = self.waits;
        poll_fn(|cx| {
            if !waits {
                return Poll::Ready(());
            }
            waits = false;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl Backend for Empty {
    fn name(&self) -> &'static str {
        "empty"
    }
    fn id(&self) -> StoreId {
        Dummy.id()
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().shared().connects()
    }
    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }
    async fn get(&self, _: &str) -> Result<Option<Bytes>> {
        self.wait().await;
        Ok(Some(self.value.clone()))
    }
    async fn set(&self, _: &str, _: Bytes, _: Expiry, _: SetMode) -> Result<bool> {
        self.wait().await;
        Ok(true)
    }

    // No case calls the others.
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        Dummy.get_entry(key)
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        Dummy.get_many(keys)
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        Dummy.get_entries(keys)
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        Dummy.set_many(items, expiry)
    }
    async fn has(&self, key: &str) -> Result<bool> {
        Dummy.has(key)
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        Dummy.ttl(key)
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        Dummy.touch(key, expiry)
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        Dummy.delete(key)
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        Dummy.delete_many(keys)
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        Dummy.take(key)
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        Dummy.incr(key, delta, create)
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        Dummy.compare_and_delete(key, seen)
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        Dummy.compare_and_set(key, seen, value, lifetime)
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        Dummy.rename(from, to)
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        Dummy.clear(namespace)
    }
    async fn clear_store(&self) -> Result<()> {
        Dummy.clear_store()
    }
    async fn check(&self) -> Result<()> {
        Dummy.check()
    }
    async fn close(&self) -> Result<()> {
        Dummy.close()
    }
}
