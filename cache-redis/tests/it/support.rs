//! Settings and servers for the tests.

use std::sync::{Arc, LazyLock};

use cache_core::{Cache, Caches, store::Backend};
use cache_redis as _;
use test_servers::{RedisCluster, Sentinels};

/// Three leaders with a replica each.
pub(crate) static CLUSTER: LazyLock<RedisCluster> =
    LazyLock::new(|| RedisCluster::start(3, 3).unwrap().patient().unwrap());
/// A leader, two replicas, three Sentinels.
pub(crate) static SENTINELS: LazyLock<Sentinels> =
    LazyLock::new(|| Sentinels::start(2, 3).unwrap().patient().unwrap());

/// For the suite: values are too large at a size that costs little, and a slow machine does not
/// fail it.
pub(crate) const LARGE_IS_SMALL: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nmax_value_bytes = \"1MiB\"\n";
/// The beginning of the store's own options. Settings that every store has come before it.
pub(crate) const OPTIONS: &str = "[caches.default.options]\n";
pub(crate) const CLUSTERED: &str = "topology = \"cluster\"\n";
pub(crate) const SENTINEL: &str = "topology = \"sentinel\"\nservice_name = \"mymaster\"\n";

/// Deadlines for slow machines, if the settings contain none.
const PATIENT: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n";

/// Returns the settings of one cache.
pub(crate) fn toml(location: &[impl AsRef<str>], more: &str) -> String {
    let location: Vec<_> = location.iter().map(|it| format!("{:?}", it.as_ref())).collect();
    let patience = if more.contains("deadline = ") { "" } else { PATIENT };
    let location = location.join(", ");
    format!("[caches.default]\nbackend = \"redis\"\nlocation = [{location}]\n{patience}{more}\n")
}

/// Returns a cache with these settings.
pub(crate) fn cache(location: &[impl AsRef<str>], more: &str) -> Cache {
    let caches = Caches::from_toml(&toml(location, more)).unwrap();
    caches.get("default").unwrap().clone()
}

/// Returns the store of a cache with these settings.
pub(crate) fn store(location: &[impl AsRef<str>], more: &str) -> Arc<dyn Backend> {
    cache(location, more).backend().clone()
}
