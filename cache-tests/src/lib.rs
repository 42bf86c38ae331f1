//! Tests across the crates: one program with each store, chosen by settings alone; programs that
//! link the stores and one that does not; several processes on one store.

#![cfg(target_os = "linux")]

use std::fmt;

use anyhow::Result;
use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;
use test_servers::{Memcached, Postgres, Redis, RedisCluster, Server as _};

/// A store with its settings and its server, which runs until this is dropped.
pub struct Store {
    /// The name of the store in messages.
    pub name: &'static str,
    /// The lines of its table `[caches.default]`.
    pub toml: String,
    /// Whether other processes see the entries.
    pub is_shared: bool,
    /// Whether the store uses a network, and so needs a runtime.
    pub needs_runtime: bool,
    _server: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Store {
    fn new(name: &'static str, toml: String, server: impl std::any::Any + Send + Sync) -> Self {
        Self { name, toml, is_shared: true, needs_runtime: true, _server: Some(Box::new(server)) }
    }

    /// A store inside the process.
    fn in_process(name: &'static str, toml: &str) -> Self {
        Self { name, toml: toml.into(), is_shared: false, needs_runtime: false, _server: None }
    }

    /// Returns the settings file, with deadlines that a slow machine meets.
    pub fn settings(&self) -> String {
        format!(
            "{}deadline = \"20s\"\nconnect_deadline = \"20s\"\n",
            self.settings_with_default_deadlines()
        )
    }

    /// Returns the settings file with the default deadlines: a mark that a killed process left in
    /// the store blocks others for as long as the deadlines are.
    pub fn settings_with_default_deadlines(&self) -> String {
        format!("[caches.default]\n{}\nkey_prefix = \"tests\"\n", self.toml)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Starts all stores that settings can choose, each empty.
///
/// # Errors
/// If a server does not start.
pub fn stores() -> Result<Vec<Store>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cache.db");
    let file = format!("backend = \"db\"\nlocation = \"{}\"", file.display());
    let postgres = Postgres::start()?;
    let server = format!("backend = \"db\"\nlocation = \"{}\"", postgres.url());
    let redis = Redis::start()?;
    let single = format!("backend = \"redis\"\nlocation = \"{}\"", redis.url());
    let cluster = RedisCluster::start(3, 0)?;
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
        Store::in_process("memory", "backend = \"memory\""),
        Store { needs_runtime: false, ..Store::new("sqlite", file, folder) },
        Store::in_process("sqlite in memory", "backend = \"sqlite\"\nlocation = \":memory:\""),
        Store { needs_runtime: false, ..Store::new("file", in_directory, directory) },
        Store::new("postgres", server, postgres),
        Store::new("redis", single, redis),
        Store::new("redis cluster", many, cluster),
        Store::new("memcached", three, pool),
    ])
}
