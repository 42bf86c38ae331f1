//! This library, over any store.

use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use cache_core::{Cache, Caches};

use super::{
    calls::{Client, found},
    inputs::{Inputs, MANY, PREFIX, User},
};

/// A cache, built from settings.
pub(in crate::suites) struct Ours {
    pub(in crate::suites) cache: Cache,
    bytes: Cache<Bytes>,
    inputs: Arc<Inputs>,
}

pub(in crate::suites) const LIFETIME: Duration = Duration::from_secs(3600);
/// The size of a batch that does not reach the deadline.
const KEYS_AT_ONCE: usize = 1_000;

/// Builds a cache with a long deadline for a busy machine: a failed call would be measured as a
/// fast call.
pub(in crate::suites) fn cache(settings: &str) -> Result<Cache> {
    let toml =
        format!("[caches.default]\nkey_prefix = \"{PREFIX}\"\ndeadline = \"30s\"\n{settings}");
    Ok(Caches::from_toml(&toml)?.get("default")?.clone().strict())
}

impl Ours {
    pub(in crate::suites) fn new(settings: &str, inputs: &Arc<Inputs>) -> Result<Self> {
        let cache = cache(settings)?;
        Ok(Self { bytes: cache.bytes(), cache, inputs: Arc::clone(inputs) })
    }

    /// Writes the entries that the calls read.
    pub(in crate::suites) async fn fill(&self) -> Result<()> {
        let (names, counters) = self.inputs.all();
        for names in names.chunks(KEYS_AT_ONCE) {
            let values = names.iter().map(|it| (it, &self.inputs.value));
            let failed = self.cache.set_many(values, LIFETIME).await?;
            ensure!(failed.is_empty(), "{failed:?}");
        }
        let failed = self.cache.set_many(counters.iter().map(|it| (it, 0)), LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    }

    /// Gets the keys of a batch one by one.
    pub(in crate::suites) async fn get_one_by_one(&self, n: usize) -> Result<()> {
        for name in self.inputs.many(n) {
            black_box(found(self.cache.get::<User>(name).await?)?);
        }
        Ok(())
    }
}

impl Client for Ours {
    async fn get(&self, n: usize) -> Result<()> {
        black_box(found(self.cache.get::<User>(self.inputs.name(n)).await?)?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        black_box(found(self.bytes.get(self.inputs.name(n)).await?)?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        Ok(self.cache.set(self.inputs.name(n), &self.inputs.value, LIFETIME).await?)
    }

    async fn incr(&self, n: usize) -> Result<()> {
        black_box(self.cache.incr(self.inputs.counter(n), 1).await?);
        Ok(())
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        let values = self.cache.get_many::<User, _>(self.inputs.many(n)).await?;
        ensure!(values.len() == MANY, "{} values", values.len());
        black_box(values);
        Ok(())
    }

    async fn set_many(&self, n: usize) -> Result<()> {
        let items = self.inputs.many(n).map(|it| (it, &self.inputs.value));
        let failed = self.cache.set_many(items, LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    }
}
