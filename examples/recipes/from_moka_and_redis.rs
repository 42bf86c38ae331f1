//! Coming from `moka` in front of Redis, by hand: three faults of that code, and the code without
//! them.
//!
//! Both sides use the same simulated server, so that the program needs none and can switch it off.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, Result, secs,
    store::{Backend as _, Expiry, SetMode},
    testing::{Fault, Faulty},
};
use cache_memory::Memory;
use futures_util::future::{join, join_all};
use tokio::sync::{Semaphore, watch};

// ANCHOR: before
/// Roles of users: in `moka`, else in Redis, else in the database.
struct ByHand {
    near: moka::future::Cache<u64, String>,
    redis: Redis,
    database: Arc<Database>,
}

impl Roles for ByHand {
    async fn roles(&self, user: u64) -> Result<String> {
        if let Some(roles) = self.near.get(&user).await {
            return Ok(roles);
        }
        let roles = if let Some(roles) = self.redis.get(&key(user)).await? {
            roles
        } else {
            let roles = self.database.roles(user).await;
            self.redis.set_ex(&key(user), &roles, 60).await?;
            roles
        };
        self.near.insert(user, roles.clone()).await;
        Ok(roles)
    }

    async fn revoke(&self, user: u64) -> Result<()> {
        self.database.revoke();
        self.redis.del(&key(user)).await?;
        self.near.invalidate(&user).await;
        Ok(())
    }
}
// ANCHOR_END: before

// ANCHOR: after
/// Roles of users, in the store that the settings name.
struct WithCache {
    cache: Cache,
    database: Arc<Database>,
}

impl Roles for WithCache {
    async fn roles(&self, user: u64) -> Result<String> {
        let database = Arc::clone(&self.database);
        let load = move |_| async move { Ok::<_, Infallible>(database.roles(user).await) };
        self.cache.fetch(&key(user)).ttl(secs(60)).load(load).await
    }

    async fn revoke(&self, user: u64) -> Result<()> {
        self.database.revoke();
        self.cache.delete(&key(user)).await?;
        Ok(())
    }
}
// ANCHOR_END: after

// ANCHOR: faults
/// Returns how many loads 100 callers make when the entry is missing.
async fn stampede(it: &impl Roles, database: &Database) -> usize {
    join_all((0..100).map(|_| it.roles(7))).await;
    database.loads.send_replace(0)
}

/// Returns what is read after `revoke` has returned, which ran while another caller loaded.
async fn after_revoke(it: &impl Roles, database: &Database) -> Result<String> {
    database.replies.forget_permits(1);
    let revoke = async {
        // The database has read the old roles, and its reply is on the way.
        let _ = database.loads.subscribe().wait_for(|loads| *loads == 1).await;
        let revoked = it.revoke(8).await;
        database.replies.add_permits(1);
        revoked
    };
    let (loaded, revoked) = join(it.roles(8), revoke).await;
    loaded.and(revoked)?;
    it.roles(8).await
}

/// Returns whether a caller gets the roles while Redis is down.
async fn is_served_in_an_outage(it: &impl Roles, redis: &Redis) -> bool {
    redis.0.inject(|_| Fault::Error(ErrorKind::Unavailable));
    it.roles(9).await.is_ok()
}
// ANCHOR_END: faults

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (redis, database) = (Redis::new(), Arc::new(Database::new()));
    let near = moka::future::Cache::builder().time_to_live(Duration::from_secs(60)).build();
    let by_hand = ByHand { near, redis: redis.clone(), database: Arc::clone(&database) };
    assert_eq!(stampede(&by_hand, &database).await, 100, "each caller loads");
    assert_eq!(after_revoke(&by_hand, &database).await?, "admin", "revoked, and still an admin");
    assert!(!is_served_in_an_outage(&by_hand, &redis).await, "Redis is down, so the service is");

    let (redis, database) = (Redis::new(), Arc::new(Database::new()));
    let cache = Cache::new("roles", redis.0.clone());
    let with_cache = WithCache { cache, database: Arc::clone(&database) };
    assert_eq!(stampede(&with_cache, &database).await, 1);
    assert_eq!(after_revoke(&with_cache, &database).await?, "none");
    assert!(is_served_in_an_outage(&with_cache, &redis).await);

    let get_with = GetWith { near: moka::future::Cache::new(100), database: Database::new() };
    assert_eq!(stampede(&get_with, &get_with.database).await, 1, "it mends the first fault");
    assert_eq!(after_revoke(&get_with, &get_with.database).await?, "admin", "and no other");
    println!("by hand: 100 loads, a revoked admin and an outage; with the cache: 1 load");
    Ok(())
}

/// `moka` alone, with one load per key.
struct GetWith {
    near: moka::future::Cache<u64, String>,
    database: Database,
}

impl Roles for GetWith {
    async fn roles(&self, user: u64) -> Result<String> {
        Ok(self.near.get_with(user, self.database.roles(user)).await)
    }

    async fn revoke(&self, user: u64) -> Result<()> {
        self.database.revoke();
        self.near.invalidate(&user).await;
        Ok(())
    }
}

trait Roles {
    async fn roles(&self, user: u64) -> Result<String>;
    /// Revokes the roles of this user.
    async fn revoke(&self, user: u64) -> Result<()>;
}

fn key(user: u64) -> String {
    format!("roles:{user}")
}

/// Stands for a Redis client and its server.
#[derive(Clone)]
struct Redis(Faulty);

impl Redis {
    fn new() -> Self {
        Self(Faulty::new(Memory::new()))
    }

    async fn get(&self, key: &str) -> Result<Option<String>> {
        let bytes = self.0.get(key).await?;
        Ok(bytes.map(|it| String::from_utf8_lossy(&it).into_owned()))
    }

    async fn set_ex(&self, key: &str, value: &str, seconds: u64) -> Result<()> {
        let expiry = Expiry::After(Duration::from_secs(seconds));
        self.0.set(key, value.to_owned().into(), expiry, SetMode::Always).await?;
        Ok(())
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.0.delete(key).await?;
        Ok(())
    }
}

/// Stands for a database. Its replies can be held on their way.
struct Database {
    roles: Mutex<&'static str>,
    loads: watch::Sender<usize>,
    /// A permit lets the replies arrive.
    replies: Semaphore,
}

impl Database {
    fn new() -> Self {
        let (roles, loads) = (Mutex::new("admin"), watch::Sender::new(0));
        Self { roles, loads, replies: Semaphore::new(1) }
    }

    async fn roles(&self, _user: u64) -> String {
        let roles = *self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        self.loads.send_modify(|it| *it += 1);
        tokio::task::yield_now().await;
        let _arrived = self.replies.acquire().await;
        roles.to_owned()
    }

    /// Revokes the roles of all users.
    fn revoke(&self) {
        *self.roles.lock().unwrap_or_else(PoisonError::into_inner) = "none";
    }
}
