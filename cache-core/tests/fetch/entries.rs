//! Values with a grace, as other caches see them.

use cache_core::{
    Cache, ErrorKind, FetchSettings, Ttl,
    store::{Backend, Expiry, Inline, SetMode},
    testing::{FakeClock, Model},
};
use std::sync::Arc;

use crate::{HOUR, MINUTE, SECOND, run_tasks, value};

fn caches() -> (Arc<dyn Backend>, Cache, Cache, FakeClock) {
    let time = FakeClock::new();
    let store: Arc<dyn Backend> = Arc::new(Inline::new(Model::new(time.clock())));
    let builder = || Cache::builder(Arc::clone(&store)).clock(time.clock());
    let with = builder().fetch(FetchSettings::with_grace(HOUR)).build("with").unwrap();
    let without = builder().build("without").unwrap();
    (store, with, without, time)
}

#[tokio::test]
async fn cache_without_the_setting_does_not_serve_values_with_a_grace() {
    let (_, with, without, time) = caches();
    with.fetch("k").ttl(MINUTE).prime(&1).await.unwrap();
    assert_eq!(without.get::<u32>("k").await.unwrap(), None);
    assert_eq!(without.stats().undecodable, 1);
    let error = without.strict().get::<u32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.message().contains("`grace`"), "{error}");
    time.advance(MINUTE);
    // It loads and overwrites, as it does with other bytes that it cannot read.
    assert_eq!(without.get_or_set("k", HOUR, || async { 2 }).await.unwrap(), 2);
    assert_eq!(with.get::<u32>("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn stored_form_has_the_grace_in_its_header_and_its_lifetime() {
    let (store, with, ..) = caches();
    with.fetch("k").ttl(MINUTE).jitter(0.0).prime(&"text").await.unwrap();
    let entry = store.get_entry(":1:k").await.unwrap().unwrap();
    assert_eq!(entry.ttl, Ttl::Remaining(MINUTE + HOUR));
    assert!(entry.value.starts_with(b"\xc1\xca"));
    assert!(entry.value.ends_with(b"\"text\""));
    assert_eq!(cache_core::store::payload_len(&entry.value), 6);
}

#[tokio::test]
async fn values_of_set_have_no_grace() {
    let (store, with, _, time) = caches();
    with.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(store.get(":1:k").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(with.incr("k", 1).await.unwrap(), 2);
    assert!(with.touch("k", 2 * MINUTE).await.unwrap());
    time.advance(MINUTE);
    assert_eq!(with.fetch("k").load(value(9)).await.unwrap(), 2);
    time.advance(MINUTE + SECOND);
    assert_eq!(with.fetch("k").load(value(9)).await.unwrap(), 9, "no value is left");
}

#[tokio::test]
async fn damaged_value_with_a_grace_is_removed_and_loaded_again() {
    let (store, with, ..) = caches();
    with.fetch("k").ttl(MINUTE).prime(&"text").await.unwrap();
    let mut bytes = store.get(":1:k").await.unwrap().unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let lifetime = Expiry::After(HOUR);
    store.set(":1:k", bytes.into(), lifetime, SetMode::Always).await.unwrap();
    assert_eq!(with.get::<String>("k").await.unwrap(), None);
    assert_eq!(store.get(":1:k").await.unwrap(), None);
    assert_eq!(with.fetch("k").load(value(2)).await.unwrap(), 2);
    run_tasks().await;
}

/// The checksum of its own header finds the damage, and not that of the entry around it.
#[cfg(feature = "msgpack")]
#[tokio::test]
async fn damaged_value_with_a_header_and_a_grace_is_removed() {
    let store: Arc<dyn Backend> = Arc::new(Inline::new(Model::default()));
    let cache = Cache::builder(Arc::clone(&store)).codec(cache_core::Codec::MsgPack);
    let cache = cache.fetch(FetchSettings::with_grace(HOUR)).build("test").unwrap();
    cache.fetch("k").prime(&"text").await.unwrap();
    let mut bytes = store.get(":1:k").await.unwrap().unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    store.set(":1:k", bytes.into(), Expiry::After(2 * HOUR), SetMode::Always).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    assert_eq!(store.get(":1:k").await.unwrap(), None);
}

#[tokio::test]
async fn stale_value_of_another_type_is_a_miss() {
    let (_, with, _, time) = caches();
    with.fetch("k").ttl(MINUTE).jitter(0.0).prime(&"text").await.unwrap();
    time.advance(MINUTE);
    assert_eq!(with.fetch("k").load(value(2)).await.unwrap(), 2);
}
