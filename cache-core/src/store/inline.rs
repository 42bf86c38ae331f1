use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Backend, Capabilities, CounterInit, Entry, Expected, SetMode, StoreId, SyncBackend, TtlUpdate,
};
use crate::{
    error::Result,
    key::Namespace,
    store::Views,
    timeout::{Expiry, Ttl},
};

/// A [`Backend`] that runs each call on the calling thread, for a store whose calls never wait.
///
/// The facade calls the store directly, without a future.
#[derive(Debug)]
pub struct Inline<B>(Arc<B>);

impl<B: SyncBackend> Inline<B> {
    /// Wraps `store`.
    pub fn new(store: B) -> Self {
        Self(Arc::new(store))
    }

    /// Wraps a store that is also used elsewhere.
    pub fn from_arc(store: Arc<B>) -> Self {
        Self(store)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: SyncBackend> Backend for Inline<B> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn id(&self) -> StoreId {
        self.0.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn views(self: Arc<Self>) -> Views {
        Views::none().with_sync(Arc::clone(&self.0) as _)
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.get(key)
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.0.get_entry(key)
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.0.get_many(keys)
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.0.get_entries(keys)
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        self.0.set(key, value, expiry, mode)
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        self.0.set_many(items, expiry)
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.0.has(key)
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.0.ttl(key)
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.0.touch(key, expiry)
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.0.delete(key)
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        self.0.delete_many(keys)
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.take(key)
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        self.0.incr(key, delta, create)
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        self.0.compare_and_delete(key, seen)
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.0.compare_and_set(key, seen, value, lifetime)
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.0.rename(from, to)
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.0.clear(namespace)
    }
    async fn clear_store(&self) -> Result<()> {
        self.0.clear_store()
    }
    async fn check(&self) -> Result<()> {
        self.0.check()
    }
    async fn close(&self) -> Result<()> {
        self.0.close()
    }
}
