//! This library: a cache whose loads are fenced, and one whose loads are not.

use std::{convert::Infallible, hint::black_box, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use cache_core::Cache;

use super::calls::{Call, Contender, VALUE_BYTES, next};
use crate::suites::network::{
    calls::{each, found},
    ours::{LIFETIME, cache},
};

/// The number of keys that have values.
const KEYS: usize = 1_000;

struct Ours {
    cache: Cache,
    /// Before the keys that are missing at first.
    prefix: &'static str,
    value: String,
}

pub(super) async fn contenders(settings: &str) -> Result<Vec<Contender>> {
    let fenced = format!("{settings}\n[caches.default.fetch]\nfenced = true");
    let fenced = Ours::new(cache(&fenced)?, "fenced");
    let plain = Ours::new(cache(settings)?, "plain");
    fenced.fill().await?;
    plain.fill().await?;
    let of = |call, name, job| Contender { call, name, job };
    Ok(vec![
        of(Call::Hit, "fenced", each!(&fenced, hit)),
        of(Call::Hit, "unfenced", each!(&plain, hit)),
        of(Call::Hit, "get", each!(&plain, get)),
        of(Call::Miss, "fenced", each!(&fenced, miss)),
        of(Call::Miss, "unfenced", each!(&plain, miss)),
        of(Call::Refresh, "fenced", each!(&fenced, refresh)),
        of(Call::Refresh, "unfenced", each!(&plain, refresh)),
        of(Call::Lock, "lock", each!(&plain, lock)),
        of(Call::Lock, "add_delete", each!(&plain, add_delete)),
    ])
}

impl Ours {
    fn new(cache: Cache, prefix: &'static str) -> Arc<Self> {
        let value = "x".repeat(VALUE_BYTES);
        Arc::new(Self { cache, prefix, value })
    }

    async fn fill(&self) -> Result<()> {
        for n in 0..KEYS {
            self.cache.fetch(&self.stored(n)).ttl(LIFETIME).prime(&self.value).await?;
        }
        Ok(())
    }

    fn stored(&self, n: usize) -> String {
        format!("{}:stored:{:04}", self.prefix, n % KEYS)
    }

    async fn hit(&self, _: usize) -> Result<()> {
        let key = self.stored(next());
        let load = |_| async { anyhow::bail!("the value is stored") };
        black_box(self.cache.fetch(&key).ttl(LIFETIME).load::<String, _, _, _>(load).await?);
        Ok(())
    }

    async fn get(&self, _: usize) -> Result<()> {
        black_box(found(self.cache.get::<String>(&self.stored(next())).await?)?);
        Ok(())
    }

    async fn miss(&self, _: usize) -> Result<()> {
        let (key, value) = (format!("{}:{}", self.prefix, next()), self.value.clone());
        let load = |_| async { Ok::<_, Infallible>(value) };
        black_box(self.cache.fetch(&key).ttl(LIFETIME).load(load).await?);
        Ok(())
    }

    async fn refresh(&self, _: usize) -> Result<()> {
        let (key, value) = (self.stored(next()), self.value.clone());
        let load = |_| async { Ok::<_, Infallible>(value) };
        black_box(self.cache.fetch(&key).ttl(LIFETIME).force().load(load).await?);
        Ok(())
    }

    async fn lock(&self, _: usize) -> Result<()> {
        let name = format!("job:{}", next());
        let lock = self.cache.try_lock(&name, LIFETIME).await?.context("it has an owner")?;
        ensure!(lock.release().await?, "the lock was lost");
        Ok(())
    }

    /// A lock that any caller can release.
    async fn add_delete(&self, _: usize) -> Result<()> {
        let key = format!("flag:{}", next());
        ensure!(self.cache.add(&key, &1, LIFETIME).await?, "the key exists");
        ensure!(self.cache.delete(&key).await?, "the key is absent");
        Ok(())
    }
}
