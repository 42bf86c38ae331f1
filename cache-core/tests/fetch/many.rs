//! Batches on a cache whose entries may have a grace or remember an absence.

use std::{collections::HashMap, io};

use cache_core::{ErrorKind, Timeout, layer::Operation};

use crate::{HOUR, MINUTE, SECOND, fails, world, world_with};

#[tokio::test]
async fn batch_remembers_that_keys_have_no_value() {
    let (_, cache, time) = world_with(|it| it.negative_ttl = Some(MINUTE.into()));
    let load = |_| async { HashMap::from([("known", 1)]) };
    let keys = ["known", "none"];
    let found = cache.get_or_set_many(keys, Timeout::Default, load).await.unwrap();
    assert_eq!(found, [("known", 1)].into());
    for _ in 0..2 {
        let load = |_| async { panic!("all is known") as HashMap<&str, u32> };
        let found = cache.get_or_set_many(keys, Timeout::Default, load).await.unwrap();
        assert_eq!(found, [("known", 1)].into());
    }
    assert_eq!(cache.stats().loads, 1);
    time.advance(MINUTE + SECOND);
    let load = |_| async { HashMap::from([("known", 2), ("none", 3)]) };
    let found = cache.get_or_set_many(keys, Timeout::Default, load).await.unwrap();
    assert_eq!(found, [("known", 2), ("none", 3)].into());
}

#[tokio::test]
async fn batch_whose_loader_fails_returns_stale_values_if_it_has_all() {
    let (_, cache, time) = world();
    for (key, value) in [("a", 1), ("b", 2)] {
        cache.fetch(key).prime(&value).await.unwrap();
    }
    time.advance(2 * MINUTE);
    let fails = |_| async { Err::<HashMap<&str, u32>, _>(io::Error::other("db down")) };
    let found = cache.get_or_try_set_many(["a", "b"], Timeout::Default, fails).await.unwrap();
    assert_eq!(found, [("a", 1), ("b", 2)].into());
    let error = cache.get_or_try_set_many(["a", "c"], Timeout::Default, fails).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader, "`c` has none");
    time.advance(HOUR);
    let error = cache.get_or_try_set_many(["a", "b"], Timeout::Default, fails).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader, "the grace is over");
}

/// As with `fetch`, whose loader says that there is no value.
#[tokio::test]
async fn stale_value_of_a_key_without_a_value_is_removed() {
    let (store, cache, time) = world();
    cache.fetch("stale").prime(&1).await.unwrap();
    time.advance(2 * MINUTE);
    let load = |_| async { HashMap::from([("loaded", 2)]) };
    let keys = ["stale", "loaded"];
    let found = cache.get_or_set_many(keys, Timeout::Default, load).await.unwrap();
    assert_eq!(found, [("loaded", 2)].into());
    let stale = cache.fetch("stale").load(fails::<u32>()).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Loader, "no old value is left");
    assert_eq!(store.calls(Operation::DeleteMany), 1);
}
