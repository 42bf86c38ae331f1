//! Remembers that the source has no value, so that 404s do not reach it again and again.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use cache_core::{Cache, Caches, Result, secs};
use cache_memory as _;

const SETTINGS: &str = r#"
    [caches.default]
    backend = "memory"
    [caches.default.fetch]
    negative_ttl = "1m"
"#;

// ANCHOR: recipe
/// Returns the user of an id. The database is queried once a minute at most for an id without a
/// user, and once in five minutes for one with a user.
async fn user(cache: &Cache, database: &Arc<Database>, id: u64) -> Result<Option<String>> {
    let database = Arc::clone(database);
    let load = move |_| async move { database.user(id).await };
    cache.fetch(&key(id)).ttl(secs(300)).load_optional(load).await
}

/// Creates a user, who is found at once: the delete ends the remembered absence.
async fn create(cache: &Cache, database: &Database, id: u64, name: &str) -> Result<()> {
    database.insert(id, name);
    cache.delete(&key(id)).await?;
    Ok(())
}

fn key(id: u64) -> String {
    format!("user:{id}")
}
// ANCHOR_END: recipe

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let caches = Caches::from_toml(SETTINGS)?;
    let (cache, database) = (caches.get("default")?, Arc::new(Database::default()));

    for _ in 0..100 {
        assert_eq!(user(cache, &database, 8).await?, None);
    }
    assert_eq!(database.queries(), 1);

    create(cache, &database, 8, "Ada").await?;
    for _ in 0..100 {
        assert_eq!(user(cache, &database, 8).await?.as_deref(), Some("Ada"));
    }
    assert_eq!(database.queries(), 2);
    println!("200 lookups, {} queries", database.queries());
    Ok(())
}

/// Stands for a database, and counts its queries.
#[derive(Default)]
struct Database {
    users: Mutex<HashMap<u64, String>>,
    queries: AtomicUsize,
}

impl Database {
    async fn user(&self, id: u64) -> io::Result<Option<String>> {
        tokio::task::yield_now().await;
        self.queries.fetch_add(1, Ordering::Relaxed);
        Ok(self.users.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned())
    }

    fn insert(&self, id: u64, name: &str) {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(id, name.into());
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }
}
