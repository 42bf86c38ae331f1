use std::time::Duration;

use cache_core::{BusStats, Cache, Caches, secs};
use cache_db as _;
use cache_memory as _;
use cache_redis as _;
use test_servers::{Postgres, Redis, Server};

/// Returns a server of each kind that passes messages on, and its URL.
pub(crate) fn servers() -> [(Box<dyn Server>, String); 2] {
    let (redis, postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
    let urls = (redis.url(), postgres.url());
    [(Box::new(redis), urls.0), (Box::new(postgres), urls.1)]
}

/// Returns the settings of memory on this bus, with deadlines for slow machines.
pub(crate) fn settings(url: &str) -> String {
    let patience = "deadline = '20s'\nconnect_deadline = '20s'\n";
    format!("{}{patience}", hasty_settings(url))
}

/// Returns the settings of memory on this bus, with the default deadlines.
fn hasty_settings(url: &str) -> String {
    format!("[caches.default]\nbackend = 'memory'\nbus = '{url}'\ntags = true\n")
}

/// Returns the cache of a process, after messages arrive.
pub(crate) async fn process(url: &str) -> Cache {
    let cache = cache(&settings(url));
    cache.check().await.unwrap();
    assert!(!bus(&cache).is_bypassed);
    cache
}

/// As [`process`], with the default deadlines, for tests of servers that do not reply.
pub(crate) async fn hasty_process(url: &str) -> Cache {
    let cache = cache(&hasty_settings(url));
    // A slow machine may exceed them.
    wait_until("messages arrive", async || cache.check().await.is_ok() && !bus(&cache).is_bypassed)
        .await;
    cache
}

fn cache(settings: &str) -> Cache {
    let builder = Caches::builder().stderr_notice(false).toml(settings).unwrap();
    builder.build().unwrap().get("default").unwrap().clone()
}

pub(crate) fn bus(cache: &Cache) -> BusStats {
    cache.stats().bus.unwrap()
}

/// Waits until a condition holds.
///
/// # Panics
/// After two minutes.
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            // sleeps: no event says that the condition holds
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect(what);
}

pub(crate) async fn get(cache: &Cache) -> Option<i64> {
    cache.get("k").await.unwrap()
}

/// Stores a value in the memory of each process, and waits until all of them keep it.
pub(crate) async fn put(caches: &[&Cache], value: i64) {
    for cache in caches {
        wait_until("the value is kept", async || {
            cache.set("k", &value, secs(600)).await.unwrap();
            get(cache).await == Some(value)
        })
        .await;
    }
}

pub(crate) async fn missing(cache: &Cache) {
    wait_until("the value is missing", async || get(cache).await.is_none()).await;
}

pub(crate) async fn bypassed(cache: &Cache) {
    wait_until("the memory is bypassed", async || bus(cache).is_bypassed).await;
}

pub(crate) async fn in_use(cache: &Cache) {
    wait_until("the memory is in use", async || !bus(cache).is_bypassed).await;
}
