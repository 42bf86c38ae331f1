//! Arguments whose names the generated code could use for itself.

use std::time::Duration;

use cache_core::{CACHES, Caches, cache, cached, secs};

use crate::with;

const TAGGED: &str = "
    caches.default.backend = 'memory'
    caches.default.tags = true
    caches.default.fetch.grace = 0";

#[cached(key = "x:{key}", tags = ["t:{key}"], ttl = secs(key))]
async fn of_key(key: u64) -> u64 {
    key
}

#[cached(key = "y:{key}", tags = ["u:{key}"], ttl = secs(key))]
fn blocking_of_key(key: u64) -> u64 {
    key
}

#[cached(
    key = "{cache}/{call}/{fetch}/{future}/{handle}/{key}/\
           {name}/{rules}/{tags}/{ttl}/{value}/{version}",
    tags = ["{cache}", "{call}", "{fetch}", "{future}", "{handle}", "{key}"],
    ttl = secs(cache + call + fetch + future + handle + key
        + name + rules + tags + ttl + value + version),
    grace = Duration::from_secs(handle + key),
    jitter = if rules == 8 { 0.5 } else { -1.0 },
)]
#[expect(clippy::too_many_arguments, reason = "these are the names")]
async fn of_all(
    cache: u64,
    call: u64,
    fetch: u64,
    future: u64,
    handle: u64,
    key: u64,
    name: u64,
    rules: u64,
    tags: u64,
    ttl: u64,
    value: u64,
    version: u64,
) -> u64 {
    cache + call + fetch + future + handle + key + name + rules + tags + ttl + value + version
}

#[tokio::test]
async fn argument_with_the_name_of_a_local_is_the_argument() {
    with(TAGGED, async {
        of_key::prime(7, &70).await.unwrap();
        assert_eq!(of_key(7).await, 70);
        cache().invalidate_tags(["t:7"]).await.unwrap();
        assert_eq!(of_key(7).await, 7);
        assert!(of_key::invalidate(7).await.unwrap());

        of_all::prime(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, &1).await.unwrap();
        let key = of_all::key(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12).unwrap();
        assert_eq!(key, "1/2/3/4/5/6/7/8/9/10/11/12");
        for tag in ["1", "2", "3", "4", "5", "6"] {
            of_all::prime(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, &1).await.unwrap();
            assert_eq!(cache().get::<u64>(&key).await.unwrap(), Some(1));
            cache().invalidate_tags([tag]).await.unwrap();
            assert_eq!(cache().get::<u64>(&key).await.unwrap(), None, "{tag}");
        }
        assert_eq!(of_all(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12).await, 78);
    })
    .await;
}

#[test]
fn argument_of_a_blocking_function_with_the_name_of_a_local_is_the_argument() {
    CACHES.scope_sync(Caches::from_toml(TAGGED).unwrap().leak(), || {
        blocking_of_key::prime(7, &70).unwrap();
        assert_eq!(blocking_of_key(7), 70);
        cache().blocking().invalidate_tags(["u:7"]).unwrap();
        assert_eq!(blocking_of_key(7), 7);
        assert!(blocking_of_key::invalidate(7).unwrap());
    });
}
