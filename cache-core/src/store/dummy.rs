//! The backend `dummy`, which stores nothing: Django's `DummyCache`, to switch caching off.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::{
    Backend, Capabilities, CounterInit, Entry, Expected, Inline, SetMode, StoreId, SyncBackend,
    TtlUpdate, integer,
};
use crate::{
    config::{BuildContext, Driver},
    error::Result,
    key::Namespace,
    store::IntoBackend,
    timeout::{Expiry, Ttl},
};

/// The driver of `backend = "dummy"`.
pub(crate) const DRIVER: Driver = Driver::new("dummy", build);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {}
    let Options {} = context.options()?;
    context.no_location()?;
    Ok(Arc::new(Inline::new(Dummy)))
}

/// A store that keeps no entry: every read is a miss, every write succeeds, `add` returns `true`
/// every time.
///
/// Counters and comparisons act as on an absent key. With this backend every call of a program sees
/// a miss: for development, and to measure whether the program needs its cache.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let caches = cache_core::Caches::from_toml("caches.default.backend = 'dummy'")?;
/// let cache = caches.get("default")?;
/// cache.set("k", &1, cache_core::Timeout::Default).await?;
/// assert_eq!(cache.get::<i32>("k").await?, None);
/// assert!(cache.add("k", &1, cache_core::Timeout::Default).await? && cache.add("k", &1, cache_core::Timeout::Default).await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Dummy;

impl IntoBackend for Dummy {
    fn into_backend(self) -> Arc<dyn Backend> {
        Arc::new(Inline::new(self))
    }
}

impl SyncBackend for Dummy {
    fn name(&self) -> &'static str {
        DRIVER.name()
    }
    // Each alias is a store of its own, as with a real store: two aliases never share a load.
    fn id(&self) -> StoreId {
        StoreId::unique()
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }
    fn get(&self, _: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }
    fn get_entry(&self, _: &str) -> Result<Option<Entry>> {
        Ok(None)
    }
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        keys.iter().map(|_| Ok(None)).collect()
    }
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        keys.iter().map(|_| Ok(None)).collect()
    }
    fn set(&self, _: &str, _: Bytes, _: Expiry, mode: SetMode) -> Result<bool> {
        Ok(mode != SetMode::IfPresent)
    }
    fn set_many(&self, items: &[(&str, Bytes)], _: Expiry) -> Vec<Result<()>> {
        items.iter().map(|_| Ok(())).collect()
    }
    fn has(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
    fn ttl(&self, _: &str) -> Result<Option<Ttl>> {
        Ok(None)
    }
    fn touch(&self, _: &str, _: Expiry) -> Result<bool> {
        Ok(false)
    }
    fn delete(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        keys.iter().map(|_| Ok(false)).collect()
    }
    fn take(&self, _: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }
    fn incr(&self, _: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        create.map(|it| integer::add(it.initial, delta)).transpose()
    }
    fn compare_and_delete(&self, _: &str, _: Expected<'_>) -> Result<bool> {
        Ok(false)
    }
    fn compare_and_set(&self, _: &str, _: Expected<'_>, _: Bytes, _: TtlUpdate) -> Result<bool> {
        Ok(false)
    }
    fn rename(&self, _: &str, _: &str) -> Result<bool> {
        Ok(false)
    }
    fn clear(&self, _: &Namespace) -> Result<()> {
        Ok(())
    }
    fn clear_store(&self) -> Result<()> {
        Ok(())
    }
    fn check(&self) -> Result<()> {
        Ok(())
    }
    fn close(&self) -> Result<()> {
        Ok(())
    }
}
