use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use cache_core::{Cache, Caches};
use cache_db as _;
use rusqlite::Connection;

use super::rows::{MANY, PREFIX, Rows, User, counter, counters, name, new_name};

/// `cache-db`, as settings make it.
pub(super) struct Ours {
    cache: Cache,
    rows: Arc<Rows>,
    location: String,
}

const LIFETIME: Duration = Duration::from_secs(3600);

impl Ours {
    pub(super) fn new(location: &str, options: &str, rows: &Arc<Rows>) -> Result<Arc<Self>> {
        // A deadline that a busy machine does not reach: a call that fails would be measured as a fast one.
        let toml = format!(
            "[caches.default]\nbackend = \"db\"\nlocation = \"{location}\"\nkey_prefix = \"{PREFIX}\"\ndeadline = \"10s\"\n[caches.default.options]\n{options}\n"
        );
        let cache = Caches::from_toml(&toml)?.get("default")?.clone().strict();
        Ok(Arc::new(Self { cache, rows: Arc::clone(rows), location: location.to_owned() }))
    }

    /// Writes what it will find.
    pub(super) fn fill(&self) -> Result<()> {
        let cache = self.cache.clone().blocking();
        let rows: Vec<usize> = (0..self.rows.count).collect();
        for some in rows.chunks(500) {
            let items = some.iter().map(|it| (name(*it), self.rows.value(*it)));
            ensure!(cache.set_many(items, LIFETIME)?.is_empty(), "it was not written");
        }
        ensure!(cache.set_many(counters().map(|it| (it, 0)), LIFETIME)?.is_empty(), "no counters");
        Ok(())
    }

    /// Makes the table as long as it was.
    pub(super) fn remove_new(&self) -> Result<()> {
        remove_new(&Connection::open(&self.location)?)
    }

    pub(super) async fn get(&self, _: usize) -> Result<()> {
        let found = self.cache.get::<User>(&name(self.rows.any())).await?;
        black_box(found.context("it is not there")?);
        Ok(())
    }

    pub(super) async fn set(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        Ok(self.cache.set(&name(self.rows.any()), &self.rows.value(n), LIFETIME).await?)
    }

    pub(super) async fn set_new(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        Ok(self.cache.set(&new_name(n), &self.rows.value(n), LIFETIME).await?)
    }

    pub(super) async fn add(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        let is_new = self.cache.add(&new_name(n), &self.rows.value(n), LIFETIME).await?;
        ensure!(is_new, "it was there");
        Ok(())
    }

    pub(super) async fn incr(&self, _: usize) -> Result<()> {
        black_box(self.cache.incr(&counter(self.rows.next()), 1).await?);
        Ok(())
    }

    pub(super) async fn get_many(&self, _: usize) -> Result<()> {
        let found = self.cache.get_many::<User, _>(self.rows.many().map(name)).await?;
        ensure!(found.len() == MANY, "{} values", found.len());
        black_box(found);
        Ok(())
    }

    pub(super) async fn set_many(&self, _: usize) -> Result<()> {
        let n = self.rows.next();
        let items = self.rows.many().map(|it| (name(it), self.rows.value(n)));
        let failed = self.cache.set_many(items, LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    }
}

pub(super) fn remove_new(db: &Connection) -> Result<()> {
    db.busy_timeout(Duration::from_secs(60))?;
    let (from, to) = (super::rows::key("new:"), super::rows::key("new;"));
    db.execute("DELETE FROM cache WHERE key >= ?1 AND key < ?2", [from, to])?;
    Ok(())
}
