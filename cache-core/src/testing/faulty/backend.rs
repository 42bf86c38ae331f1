//! [`Faulty`] as a store. In addition to [`Layered`](crate::layer::Layered), parts of a batch can
//! fail, and a store whose calls may wait has no sync view.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Faulty;
use crate::{
    error::{Error, Result},
    key::Namespace,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, SetMode, StoreId, SyncBackend,
        TtlUpdate, Views,
    },
    timeout::{Expiry, Ttl},
};

impl Faulty {
    /// Returns the items of a batch that do not fail, and for each item its injected error, if any.
    fn split<I: Clone>(
        &self,
        items: &[I],
        key: impl Fn(&I) -> &str,
    ) -> (Vec<I>, Vec<Option<Error>>) {
        let errors: Vec<_> = items.iter().map(|it| self.faults.key_error(key(it))).collect();
        let good = items.iter().zip(&errors).filter(|(_, err)| err.is_none());
        (good.map(|(it, _)| it.clone()).collect(), errors)
    }
}

fn join<T>(errors: Vec<Option<Error>>, good: Vec<Result<T>>) -> Vec<Result<T>> {
    let mut good = good.into_iter();
    errors
        .into_iter()
        .filter_map(|it| it.map_or_else(|| good.next(), |err| Some(Err(err))))
        .collect()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Faulty {
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
        let mut views = Views::none();
        if self.inline
            && let Some(inner) = Arc::clone(&self.inner).views().sync
        {
            views.sync = Some(Arc::new(Inline { outer: self.as_ref().clone(), inner }));
        }
        if let Some(leader) = Arc::clone(&self.store).views().leader {
            let faults = Arc::clone(&self.faults);
            views.leader = Some(Arc::new(Self::with_faults(faults, leader, self.inline)));
        }
        views
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get_entry(key).await
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        self.inner.set(key, value, expiry, mode).await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.inner.has(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.inner.ttl(key).await
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.inner.touch(key, expiry).await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.inner.delete(key).await
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.take(key).await
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        self.inner.incr(key, delta, create).await
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        self.inner.compare_and_delete(key, seen).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.inner.compare_and_set(key, seen, value, lifetime).await
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.inner.rename(from, to).await
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.inner.clear(namespace).await
    }
    async fn clear_store(&self) -> Result<()> {
        self.inner.clear_store().await
    }
    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let (keys, errors) = self.split(keys, |it| it);
        join(errors, self.inner.get_many(&keys).await)
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let (keys, errors) = self.split(keys, |it| it);
        join(errors, self.inner.get_entries(&keys).await)
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let (keys, errors) = self.split(keys, |it| it);
        join(errors, self.inner.delete_many(&keys).await)
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let (items, errors) = self.split(items, |it| it.0);
        join(errors, self.inner.set_many(&items, expiry).await)
    }
}

/// The sync view of [`Faulty::inline`].
#[derive(Debug)]
struct Inline {
    outer: Faulty,
    inner: Arc<dyn SyncBackend>,
}

#[deny(clippy::missing_trait_methods)]
impl SyncBackend for Inline {
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
        self.inner.get(key)
    }
    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get_entry(key)
    }
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        self.inner.set(key, value, expiry, mode)
    }
    fn has(&self, key: &str) -> Result<bool> {
        self.inner.has(key)
    }
    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.inner.ttl(key)
    }
    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.inner.touch(key, expiry)
    }
    fn delete(&self, key: &str) -> Result<bool> {
        self.inner.delete(key)
    }
    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.take(key)
    }
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        self.inner.incr(key, delta, create)
    }
    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        self.inner.compare_and_delete(key, seen)
    }
    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.inner.compare_and_set(key, seen, value, lifetime)
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.inner.rename(from, to)
    }
    fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.inner.clear(namespace)
    }
    fn clear_store(&self) -> Result<()> {
        self.inner.clear_store()
    }
    fn check(&self) -> Result<()> {
        self.inner.check()
    }
    fn close(&self) -> Result<()> {
        self.inner.close()
    }
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let (keys, errors) = self.outer.split(keys, |it| it);
        join(errors, self.inner.get_many(&keys))
    }
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let (keys, errors) = self.outer.split(keys, |it| it);
        join(errors, self.inner.get_entries(&keys))
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let (keys, errors) = self.outer.split(keys, |it| it);
        join(errors, self.inner.delete_many(&keys))
    }
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let (items, errors) = self.outer.split(items, |it| it.0);
        join(errors, self.inner.set_many(&items, expiry))
    }
}
