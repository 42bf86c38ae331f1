//! Loads the entries that are read most before the process takes requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use cache_core::{Cache, Result, Ttl, secs};
use cache_memory::Memory;

// ANCHOR: recipe
/// Loads the users into the cache. Returns how many of them exist.
async fn warm_up(cache: &Cache, database: &Database, ids: &[u64]) -> Result<usize> {
    let mut found = 0;
    for (minutes, ids) in (60..).zip(ids.chunks(500)) {
        let keys = ids.iter().map(|id| format!("user:{id}"));
        // Another lifetime for each batch, so that the entries do not expire in the same second.
        let lifetime = secs(60 * minutes);
        // One read, one query for the users that no other process has loaded yet, and one write.
        let users: Users =
            cache.get_or_set_many(keys, lifetime, |missing| database.users(missing)).await?;
        found += users.len();
    }
    Ok(found)
}
// ANCHOR_END: recipe

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (cache, database) = (Cache::new("users", Memory::new()), Database::default());
    let ids: Vec<u64> = (0..1200).collect();

    assert_eq!(warm_up(&cache, &database, &ids).await?, 1200);
    assert_eq!(database.queries(), 3);
    assert_eq!(cache.get::<String>("user:1199").await?.as_deref(), Some("name of user:1199"));
    for (id, minutes) in [(0, 60), (500, 61), (1000, 62)] {
        let Some(Ttl::Remaining(left)) = cache.ttl(&format!("user:{id}")).await? else {
            panic!("user {id} is not in the cache");
        };
        assert!((60 * minutes - 59..=60 * minutes).contains(&left.as_secs()), "{id}: {left:?}");
    }

    assert_eq!(warm_up(&cache, &database, &ids).await?, 1200);
    assert_eq!(database.queries(), 3, "the next process finds all users in the cache");
    println!("1200 users, {} queries", database.queries());
    Ok(())
}

/// Names by key.
type Users = std::collections::HashMap<String, String>;

/// Stands for a database, and counts its queries.
#[derive(Default)]
struct Database {
    queries: AtomicUsize,
}

impl Database {
    async fn users(&self, keys: Vec<String>) -> Users {
        tokio::task::yield_now().await;
        self.queries.fetch_add(1, Ordering::Relaxed);
        keys.into_iter().map(|key| (key.clone(), format!("name of {key}"))).collect()
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }
}
