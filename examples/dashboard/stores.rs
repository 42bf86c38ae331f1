//! The stores that settings can name. Rust links a crate only if the program names it, so each
//! store has a `use` line.

use std::sync::Arc;

use cache_core::{
    CachesBuilder, Driver, Result,
    store::{Backend, BuildContext},
};
#[cfg(feature = "db")]
use cache_db as _;
#[cfg(feature = "file")]
use cache_file as _;
#[cfg(feature = "memcached")]
use cache_memcached as _;
use cache_memory as _;
#[cfg(feature = "redis")]
use cache_redis as _;

/// Whether each store is linked, and the driver that replaces a store that is not linked. A service
/// links the stores that it needs and does not need such a list.
const STORES: [(bool, Driver); 4] = [
    (cfg!(feature = "db"), Driver::new("db", left_out).with_other_names(&["sqlite", "postgres"])),
    (cfg!(feature = "file"), Driver::new("file", left_out)),
    (cfg!(feature = "memcached"), Driver::new("memcached", left_out)),
    (cfg!(feature = "redis"), Driver::new("redis", left_out).with_other_names(&["valkey"])),
];

/// Adds an error for each store that this build does not have.
pub(crate) fn with_hints(caches: CachesBuilder) -> CachesBuilder {
    let left_out = STORES.iter().filter(|(is_linked, _)| !is_linked);
    left_out.fold(caches, |caches, (_, driver)| caches.driver(*driver))
}

fn left_out(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let name = context.settings().backend.as_str();
    let feature = match name {
        "valkey" => "redis",
        "sqlite" | "postgres" => "db",
        other => other,
    };
    let message = format!(
        "this build of the example has no store `{name}`; build it with the feature `{feature}`: \
         `cargo run -p examples --example dashboard --features {feature} -- …`"
    );
    Err(context.error("backend", message))
}

#[cfg(test)]
mod tests {
    use cache_core::{Caches, ErrorKind};

    use super::*;

    #[test]
    fn left_out_store_names_its_feature() {
        let sqlite = Driver::new("sqlite", left_out);
        let settings = "caches.default.backend = 'sqlite'";
        let error = Caches::builder().driver(sqlite).toml(settings).unwrap().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.context("setting"), Some("caches.default.backend"));
        assert!(error.message().contains("--features db "), "{error}");
    }

    #[test]
    fn settings_file_is_accepted_or_names_the_missing_feature() {
        for (name, text) in [
            ("db", include_str!("../settings/db.toml").replace("${CACHE_DB}", "cache.db")),
            (
                "file",
                include_str!("../settings/file.toml").replace("${CACHE_DIR}", "/tmp/never-made"),
            ),
            (
                "memcached",
                include_str!("../settings/memcached.toml").replace("${MEMCACHED_SERVERS}", "host"),
            ),
            (
                "redis",
                include_str!("../settings/redis.toml").replace("${REDIS_URL}", "redis://host"),
            ),
        ] {
            let is_linked = STORES.iter().any(|(is_linked, it)| *is_linked && it.name() == name);
            match with_hints(Caches::builder()).toml(&text).unwrap().build() {
                Ok(_) => assert!(is_linked, "{name}"),
                Err(error) => {
                    let hint = format!("--features {name} ");
                    assert!(!is_linked && error.message().contains(&hint), "{name}: {error}");
                }
            }
        }
    }
}
