use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use cache_core::{Cache, Caches};
use cache_db as _;

use super::rows::{MANY, PREFIX, Rows, User, counter, counters, name, new_name};
use crate::suites::network::calls::{Client, found};

/// A cache over `cache-db`, built from settings.
pub(in crate::suites) struct Ours {
    cache: Cache,
    bytes: Cache<Bytes>,
    rows: Arc<Rows>,
}

/// The name of the contender.
pub(in crate::suites) const OURS: &str = "cache-db";

const LIFETIME: Duration = Duration::from_secs(3600);

impl Ours {
    pub(in crate::suites) fn new(
        location: &str,
        options: &str,
        rows: &Arc<Rows>,
    ) -> Result<Arc<Self>> {
        // A long deadline for a busy machine: a failed call would be measured as a fast call.
        let toml = format!(
            "[caches.default]\nbackend = \"db\"\nlocation = \"{location}\"\nkey_prefix = \"{PREFIX}\"\ndeadline = \"10s\"\n[caches.default.options]\n{options}\n"
        );
        let cache = Caches::from_toml(&toml)?.get("default")?.clone().strict();
        Ok(Arc::new(Self { bytes: cache.bytes(), cache, rows: Arc::clone(rows) }))
    }

    /// Writes the rows that the calls read.
    pub(in crate::suites) fn fill(&self) -> Result<()> {
        let cache = self.cache.clone().blocking();
        let rows: Vec<usize> = (0..self.rows.count).collect();
        for some in rows.chunks(500) {
            let items = some.iter().map(|it| (name(*it), self.rows.value(*it)));
            ensure!(cache.set_many(items, LIFETIME)?.is_empty(), "a row was not written");
        }
        ensure!(cache.set_many(counters().map(|it| (it, 0)), LIFETIME)?.is_empty(), "no counters");
        Ok(())
    }

    pub(in crate::suites) async fn set_new(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        Ok(self.cache.set(&new_name(n), &self.rows.value(n), LIFETIME).await?)
    }

    pub(in crate::suites) async fn add(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        let is_new = self.cache.add(&new_name(n), &self.rows.value(n), LIFETIME).await?;
        ensure!(is_new, "the key exists");
        Ok(())
    }
}

impl Client for Ours {
    async fn get(&self, _: usize) -> Result<()> {
        black_box(found(self.cache.get::<User>(&name(self.rows.any())).await?)?);
        Ok(())
    }

    async fn get_bytes(&self, _: usize) -> Result<()> {
        black_box(found(self.bytes.get(&name(self.rows.any())).await?)?);
        Ok(())
    }

    async fn set(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        Ok(self.cache.set(&name(self.rows.any()), &self.rows.value(n), LIFETIME).await?)
    }

    async fn incr(&self, _: usize) -> Result<()> {
        black_box(self.cache.incr(&counter(self.rows.next()), 1).await?);
        Ok(())
    }

    async fn get_many(&self, _: usize) -> Result<()> {
        let found = self.cache.get_many::<User, _>(self.rows.many().map(name)).await?;
        ensure!(found.len() == MANY, "{} values", found.len());
        black_box(found);
        Ok(())
    }

    async fn set_many(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        let items = self.rows.many().map(|it| (name(it), self.rows.value(n)));
        let failed = self.cache.set_many(items, LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    }
}
