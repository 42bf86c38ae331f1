//! A store with a copy that lags. A test provides both parts.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, SetMode, StoreId,
        TtlUpdate, Views,
    },
};

/// Sends plain reads to the copy and all other calls to the leader. The leader's entries never
/// reach the copy.
#[derive(Clone, Debug)]
pub(crate) struct Replicated {
    pub(crate) leader: Arc<dyn Backend>,
    pub(crate) copy: Arc<dyn Backend>,
    /// The leader view.
    pub(crate) view: Option<Arc<dyn Backend>>,
    pub(crate) facts: Capabilities,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Replicated {
    fn name(&self) -> &'static str {
        self.leader.name()
    }
    fn id(&self) -> StoreId {
        self.leader.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.facts
    }
    fn views(self: Arc<Self>) -> Views {
        match &self.view {
            Some(view) => Views::none().with_leader(Arc::clone(view)),
            None => Views::none(),
        }
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.copy.get(key).await
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.copy.get_entry(key).await
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.copy.get_many(keys).await
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.copy.get_entries(keys).await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.copy.has(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.copy.ttl(key).await
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        self.leader.set(key, value, expiry, mode).await
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        self.leader.set_many(items, expiry).await
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.leader.touch(key, expiry).await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.leader.delete(key).await
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        self.leader.delete_many(keys).await
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.leader.take(key).await
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        self.leader.incr(key, delta, create).await
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        self.leader.compare_and_delete(key, seen).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.leader.compare_and_set(key, seen, value, lifetime).await
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.leader.rename(from, to).await
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.leader.clear(namespace).await
    }
    async fn clear_store(&self) -> Result<()> {
        self.leader.clear_store().await
    }
    async fn check(&self) -> Result<()> {
        self.leader.check().await
    }
    async fn close(&self) -> Result<()> {
        self.leader.close().await
    }
}
