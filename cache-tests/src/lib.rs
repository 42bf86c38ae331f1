//! What spans the crates: one program over all stores, chosen by settings alone; programs that link them, and one that does not;
//! several processes on one store.

#![cfg(target_os = "linux")]

use std::fmt;

use anyhow::Result;
use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;
use test_servers::{Memcached, Postgres, Redis, RedisCluster, Server as _};

/// A store that is there: the settings that name it, and the server that it needs, for as long as this lives.
pub struct Store {
    /// What it is called in messages.
    pub name: &'static str,
    /// The lines of its table `[caches.default]`.
    pub toml: String,
    /// Whether other processes see its entries.
    pub is_shared: bool,
    /// Whether it waits for a network, and so needs a runtime.
    pub needs_runtime: bool,
    _server: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Store {
    fn new(name: &'static str, toml: String, server: impl std::any::Any + Send + Sync) -> Self {
        Self { name, toml, is_shared: true, needs_runtime: true, _server: Some(Box::new(server)) }
    }

    /// One that is gone with the process.
    fn own(name: &'static str, toml: &str) -> Self {
        Self { name, toml: toml.into(), is_shared: false, needs_runtime: false, _server: None }
    }

    /// The settings file. Slow machines are slow, not wrong.
    pub fn settings(&self) -> String {
        format!("{}deadline = \"20s\"\nconnect_deadline = \"20s\"\n", self.hasty_settings())
    }

    /// The same with the deadlines that are if nothing is said: what a dead process has left behind is in the way for as long as
    /// they are.
    pub fn hasty_settings(&self) -> String {
        format!("[caches.default]\n{}\nkey_prefix = \"tests\"\n", self.toml)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All stores that a program can choose by its settings, each empty.
pub fn stores() -> Result<Vec<Store>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cache.db");
    let file = format!("backend = \"db\"\nlocation = \"{}\"", file.display());
    let postgres = Postgres::start()?;
    let server = format!("backend = \"db\"\nlocation = \"{}\"", postgres.url());
    let redis = Redis::start()?;
    let single = format!("backend = \"redis\"\nlocation = \"{}\"", redis.url());
    let cluster = RedisCluster::start(3, 0)?.patient()?;
    let urls: Vec<_> = cluster.urls().iter().map(|it| format!("{it:?}")).collect();
    let many = format!(
        "backend = \"valkey\"\nlocation = [{}]\noptions = {{ topology = \"cluster\" }}",
        urls.join(", ")
    );
    let pool: Vec<_> = (0..3).map(|_| Memcached::start()).collect::<Result<_>>()?;
    let at: Vec<_> = pool.iter().map(|it| it.address().to_string()).collect();
    let three = format!("backend = \"memcached\"\nlocation = \"{}\"", at.join("; "));
    let directory = tempfile::tempdir()?;
    let in_directory = format!("backend = \"file\"\nlocation = \"{}\"", directory.path().display());
    Ok(vec![
        Store::own("memory", "backend = \"memory\""),
        Store { needs_runtime: false, ..Store::new("sqlite", file, folder) },
        Store::own("sqlite in memory", "backend = \"sqlite\"\nlocation = \":memory:\""),
        Store { needs_runtime: false, ..Store::new("file", in_directory, directory) },
        Store::new("postgres", server, postgres),
        Store::new("redis", single, redis),
        Store::new("redis cluster", many, cluster),
        Store::new("memcached", three, pool),
    ])
}
