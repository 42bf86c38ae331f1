use std::{pin::pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Call, Layer, Operation};
use crate::{
    error::Result,
    key::Namespace,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, IntoBackend, SetMode, StoreId,
        SyncBackend, TtlUpdate, Views,
    },
    timeout::{Expiry, Ttl},
};

/// A store with a [`Layer`] around every call: the only place that forwards all methods.
///
/// The [views](Backend::views) of the store are wrapped in the same layer.
#[derive(Debug)]
pub struct Layered<H, B: ?Sized = dyn Backend> {
    hook: Arc<H>,
    inner: Arc<B>,
}

impl<H: Layer> Layered<H> {
    /// Wraps `inner` in the layer `hook`.
    pub fn new(hook: Arc<H>, inner: impl IntoBackend) -> Self {
        Self { hook, inner: inner.into_backend() }
    }
}

impl<'a> Call<'a> {
    fn one(operation: Operation, key: &'a str) -> Self {
        Self { operation, key: Some(key), keys: 1, bytes: 0, idempotent: operation.is_idempotent() }
    }
    fn many(operation: Operation, keys: usize) -> Self {
        Self { operation, key: None, keys, bytes: 0, idempotent: operation.is_idempotent() }
    }
    fn set_many(items: &[(&str, Bytes)]) -> Self {
        let bytes = items.iter().map(|(_, value)| value.len()).sum();
        Self { bytes, ..Self::many(Operation::SetMany, items.len()) }
    }
    fn set(key: &'a str, mode: SetMode) -> Self {
        Self::one(
            match mode {
                SetMode::Always => Operation::Set,
                SetMode::IfAbsent => Operation::Add,
                SetMode::IfPresent => Operation::Replace,
            },
            key,
        )
    }
}

// Here and in the layers, a future that a closure returns is pinned at once: awaiting it directly
// would copy it at each of several layers.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: Layer> Backend for Layered<H, dyn Backend> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn id(&self) -> StoreId {
        self.inner.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn views(self: Arc<Self>) -> Views {
        let inner = Arc::clone(&self.inner).views();
        let mut views = Views::none();
        if let Some(inner) = inner.sync {
            views.sync = Some(Arc::new(Layered { hook: Arc::clone(&self.hook), inner }));
        }
        if let Some(inner) = inner.leader {
            views.leader = Some(Arc::new(Layered { hook: Arc::clone(&self.hook), inner }));
        }
        views
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        pin!(self.hook.around(Call::one(Operation::Get, key), || self.inner.get(key))).await
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        pin!(self.hook.around(Call::one(Operation::Get, key), || self.inner.get_entry(key))).await
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let call = Call::many(Operation::GetMany, keys.len());
        pin!(self.hook.around(call, || self.inner.get_many(keys))).await
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let call = Call::many(Operation::GetMany, keys.len());
        pin!(self.hook.around(call, || self.inner.get_entries(keys))).await
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let call = Call::set(key, mode);
        pin!(self.hook.around(call, || self.inner.set(key, value.clone(), expiry, mode))).await
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let call = Call::set_many(items);
        pin!(self.hook.around(call, || self.inner.set_many(items, expiry))).await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        pin!(self.hook.around(Call::one(Operation::HasKey, key), || self.inner.has(key))).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        pin!(self.hook.around(Call::one(Operation::Ttl, key), || self.inner.ttl(key))).await
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        pin!(self.hook.around(Call::one(Operation::Touch, key), || self.inner.touch(key, expiry)))
            .await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        pin!(self.hook.around(Call::one(Operation::Delete, key), || self.inner.delete(key))).await
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let call = Call::many(Operation::DeleteMany, keys.len());
        pin!(self.hook.around(call, || self.inner.delete_many(keys))).await
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        pin!(self.hook.around(Call::one(Operation::Pop, key), || self.inner.take(key))).await
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let call = Call::one(Operation::Incr, key);
        pin!(self.hook.around(call, || self.inner.incr(key, delta, create))).await
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let call = Call::one(Operation::CompareAndDelete, key);
        pin!(self.hook.around(call, || self.inner.compare_and_delete(key, seen))).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let call = Call::one(Operation::Update, key);
        let set = || self.inner.compare_and_set(key, seen, value.clone(), lifetime);
        pin!(self.hook.around(call, set)).await
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let call = Call { keys: 2, ..Call::one(Operation::IncrVersion, from) };
        pin!(self.hook.around(call, || self.inner.rename(from, to))).await
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        pin!(self.hook.around(Call::many(Operation::Clear, 0), || self.inner.clear(namespace)))
            .await
    }
    async fn clear_store(&self) -> Result<()> {
        pin!(self.hook.around(Call::many(Operation::ClearStore, 0), || self.inner.clear_store()))
            .await
    }
    async fn check(&self) -> Result<()> {
        pin!(self.hook.around(Call::many(Operation::Check, 0), || self.inner.check())).await
    }
    async fn close(&self) -> Result<()> {
        pin!(self.hook.around(Call::many(Operation::Close, 0), || self.inner.close())).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<H: Layer> SyncBackend for Layered<H, dyn SyncBackend> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn id(&self) -> StoreId {
        self.inner.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.hook.around_sync(Call::one(Operation::Get, key), || self.inner.get(key))
    }
    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.hook.around_sync(Call::one(Operation::Get, key), || self.inner.get_entry(key))
    }
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let call = Call::many(Operation::GetMany, keys.len());
        self.hook.around_sync(call, || self.inner.get_many(keys))
    }
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let call = Call::many(Operation::GetMany, keys.len());
        self.hook.around_sync(call, || self.inner.get_entries(keys))
    }
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let call = Call::set(key, mode);
        self.hook.around_sync(call, || self.inner.set(key, value.clone(), expiry, mode))
    }
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let call = Call::set_many(items);
        self.hook.around_sync(call, || self.inner.set_many(items, expiry))
    }
    fn has(&self, key: &str) -> Result<bool> {
        self.hook.around_sync(Call::one(Operation::HasKey, key), || self.inner.has(key))
    }
    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.hook.around_sync(Call::one(Operation::Ttl, key), || self.inner.ttl(key))
    }
    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.hook.around_sync(Call::one(Operation::Touch, key), || self.inner.touch(key, expiry))
    }
    fn delete(&self, key: &str) -> Result<bool> {
        self.hook.around_sync(Call::one(Operation::Delete, key), || self.inner.delete(key))
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let call = Call::many(Operation::DeleteMany, keys.len());
        self.hook.around_sync(call, || self.inner.delete_many(keys))
    }
    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.hook.around_sync(Call::one(Operation::Pop, key), || self.inner.take(key))
    }
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        let call = Call::one(Operation::Incr, key);
        self.hook.around_sync(call, || self.inner.incr(key, delta, create))
    }
    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let call = Call::one(Operation::CompareAndDelete, key);
        self.hook.around_sync(call, || self.inner.compare_and_delete(key, seen))
    }
    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let call = Call::one(Operation::Update, key);
        self.hook
            .around_sync(call, || self.inner.compare_and_set(key, seen, value.clone(), lifetime))
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let call = Call { keys: 2, ..Call::one(Operation::IncrVersion, from) };
        self.hook.around_sync(call, || self.inner.rename(from, to))
    }
    fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.hook.around_sync(Call::many(Operation::Clear, 0), || self.inner.clear(namespace))
    }
    fn clear_store(&self) -> Result<()> {
        self.hook.around_sync(Call::many(Operation::ClearStore, 0), || self.inner.clear_store())
    }
    fn check(&self) -> Result<()> {
        self.hook.around_sync(Call::many(Operation::Check, 0), || self.inner.check())
    }
    fn close(&self) -> Result<()> {
        self.hook.around_sync(Call::many(Operation::Close, 0), || self.inner.close())
    }
}
