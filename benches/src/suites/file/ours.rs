use std::{hint::black_box, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use cache_core::{Cache, Caches};
use cache_file as _;

use crate::suites::network::{
    calls::Client,
    inputs::{Inputs, MANY, PREFIX, User},
};

/// `cache-file`, as settings make it.
pub(super) struct Ours {
    pub(super) cache: Cache,
    inputs: Arc<Inputs>,
}

pub(super) const LIFETIME: Duration = Duration::from_secs(3600);
/// So that one call does not reach its deadline.
const KEYS_AT_ONCE: usize = 1_000;

/// A cache in that directory. A deadline that a busy machine does not reach: a call that fails would be measured as a fast one.
pub(super) fn cache(directory: &Path, options: &str) -> Result<Cache> {
    let toml = format!(
        "[caches.default]\nbackend = \"file\"\nlocation = \"{}\"\nkey_prefix = \"{PREFIX}\"\ndeadline = \"30s\"\n\
         options = {{ max_bytes = \"20GiB\", {options} }}",
        directory.display()
    );
    Ok(Caches::from_toml(&toml)?.get("default")?.clone().strict())
}

impl Ours {
    /// With these options, as they stand in a file of settings.
    pub(super) fn new(directory: &Path, options: &str, inputs: &Arc<Inputs>) -> Result<Self> {
        Ok(Self { cache: cache(directory, options)?, inputs: Arc::clone(inputs) })
    }

    /// Writes what all of ours will find.
    pub(super) async fn fill(&self) -> Result<()> {
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
}

impl Client for Ours {
    async fn get(&self, n: usize) -> Result<()> {
        black_box(self.cache.get::<User>(self.inputs.name(n)).await?.context("a miss")?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        black_box(self.cache.get_bytes(self.inputs.name(n)).await?.context("a miss")?);
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
