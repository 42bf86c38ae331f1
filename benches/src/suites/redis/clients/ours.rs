use std::{fmt::Write as _, hint::black_box, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use cache_core::{Cache, Caches};
use cache_redis as _;

use super::found;
use crate::suites::network::{
    calls::Client,
    inputs::{Inputs, MANY, PREFIX, User},
};

/// `cache-redis`, as settings make it.
pub(in super::super) struct Ours {
    cache: Cache,
    inputs: Arc<Inputs>,
}

const LIFETIME: Duration = Duration::from_secs(3600);

impl Ours {
    pub(super) fn new(url: &str, connections: Option<usize>, inputs: &Arc<Inputs>) -> Result<Self> {
        // A deadline that a busy machine does not reach: a call that fails would be measured as a fast one.
        let mut toml = format!(
            "[caches.default]\nbackend = \"redis\"\nlocation = \"{url}\"\nkey_prefix = \"{PREFIX}\"\ndeadline = \"10s\"\n"
        );
        if let Some(it) = connections {
            write!(toml, "options.connections = {it}")?;
        }
        let cache = Caches::from_toml(&toml)?.get("default")?.clone().strict();
        Ok(Self { cache, inputs: Arc::clone(inputs) })
    }

    /// Writes what all will find.
    pub(super) async fn fill(&self) -> Result<()> {
        let (names, counters) = self.inputs.all();
        let values = names.iter().map(|it| (it, &self.inputs.value));
        let failed = self.cache.set_many(values, LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        let failed = self.cache.set_many(counters.iter().map(|it| (it, 0)), LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    }

    pub(super) async fn get_one_by_one(&self, n: usize) -> Result<()> {
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
        black_box(found(self.cache.get_bytes(self.inputs.name(n)).await?)?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        let Inputs { value, .. } = &*self.inputs;
        Ok(self.cache.set(self.inputs.name(n), value, LIFETIME).await?)
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
