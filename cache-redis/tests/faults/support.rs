//! The Redis harness for the tests of all stores, and caches on it.

use std::{any::Any, net::SocketAddr, time::Duration};

use cache_core::Cache;
use cache_memory as _;
use cache_redis as _;
use fault_tests::{Harness, Large, stored_key};
use test_servers::{Proxy, Redis, RedisCluster, resp::Reply};

/// The options of a Cluster, after all other settings.
pub(crate) const CLUSTERED: &str = "[caches.default.options]\ntopology = \"cluster\"\n";

/// This store on a Redis server.
pub(crate) struct OnRedis;

impl Harness for OnRedis {
    type Server = Redis;

    const BACKEND: &'static str = "redis";
    const SHARES_CONNECTIONS: bool = true;
    const LARGE: Large = Large { len: 5_000_000, piece: Duration::from_millis(100) };
    const OTHER_OPTIONS: &'static str = "resp = 2";

    fn start() -> Redis {
        Redis::start().unwrap()
    }

    fn location(at: SocketAddr) -> String {
        format!("redis://{at}")
    }

    fn stored(redis: &Redis, key: &str) -> Option<String> {
        stored(redis, key)
    }

    fn reads(redis: &Redis) -> u64 {
        let stats = redis.command(&["INFO", "commandstats"]).unwrap().text();
        let calls = stats.split_once("cmdstat_get:calls=").map_or("0", |it| it.1);
        calls.split(',').next().unwrap().parse().unwrap()
    }

    fn several_servers(more: &str) -> (Cache, Box<dyn Any>) {
        let cluster = RedisCluster::start(3, 0).unwrap();
        (cache(&cluster.urls(), &format!("{more}{CLUSTERED}")), Box::new(cluster))
    }
}

/// Returns a cache with these settings.
pub(crate) fn cache(location: &[impl AsRef<str>], more: &str) -> Cache {
    fault_tests::cache(OnRedis::BACKEND, location, more)
}

/// Returns a cache that connects through this proxy.
pub(crate) fn cache_through(proxy: &Proxy, more: &str) -> Cache {
    fault_tests::cache_through::<OnRedis>(proxy, more)
}

/// Returns the server's value of a key of a cache without a prefix.
pub(crate) fn stored(redis: &Redis, key: &str) -> Option<String> {
    match redis.command(&["GET", &stored_key(key)]).unwrap() {
        Reply::Nil => None,
        it => Some(it.text()),
    }
}
